//! The shape that HCL and JSON policies share. Keys may repeat: nothing is lost on the way in.

/// A value with its byte offset in the text, where known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub at: Option<usize>,
    pub value: Value,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    List(Vec<Item>),
    Map(Vec<Entry>),
    /// Anything that no policy attribute takes, named for the error.
    Other(&'static str),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub key: String,
    pub at: Option<usize>,
    pub value: Item,
    /// Written with `=` in HCL: such an object is no block.
    pub assigned: bool,
}

/// What is wrong, and where. The message may quote the policy, which is no secret.
#[derive(Debug)]
pub(super) struct Fault {
    pub at: Option<usize>,
    pub message: String,
}

impl Fault {
    pub fn new(at: Option<usize>, message: impl Into<String>) -> Fault {
        Fault { at, message: message.into() }
    }
}

impl Value {
    /// The kind of value, for errors.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "a string",
            Value::List(_) => "a list",
            Value::Map(_) => "an object",
            Value::Other(kind) => kind,
        }
    }
}
