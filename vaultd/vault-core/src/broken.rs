//! A mount whose record this server cannot serve: of a type that it has not, of a newer form, or
//! damaged. It keeps its path and its data, and every request to it is answered with the reason;
//! everything else works.

use async_trait::async_trait;
use std::collections::BTreeMap;
use vault_logical::{
    Charge, Context, Descriptor, Engine, EngineKind, Error, ErrorKind, Request, Response, Result,
};

pub struct Broken {
    auth: bool,
    reason: String,
}

impl Broken {
    pub fn new(auth: bool, reason: String) -> Broken {
        Broken { auth, reason }
    }

    fn error(&self) -> Error {
        Error::new(ErrorKind::Internal, format!("this mount cannot be served: {}", self.reason))
    }
}

const fn descriptor(kind: EngineKind, unauthenticated: &'static [&'static str]) -> Descriptor {
    Descriptor {
        type_name: "broken",
        kind,
        description: "a mount that this server cannot serve",
        unauthenticated,
        sudo: &[],
        audit_clear: &[],
        paths: &[],
    }
}

static SECRET: Descriptor = descriptor(EngineKind::Secret, &[]);
// A login without a token is told too what is wrong.
static AUTH: Descriptor = descriptor(EngineKind::Auth, &["login", "login/*"]);

#[async_trait]
impl Engine for Broken {
    fn descriptor(&self) -> &'static Descriptor {
        if self.auth { &AUTH } else { &SECRET }
    }

    async fn handle(
        &self,
        _cx: &mut Context<'_>,
        _request: &Request,
        _charge: Option<&Charge>,
    ) -> Result<Response> {
        Err(self.error())
    }

    fn check_options(&self, _options: &BTreeMap<String, String>) -> Result<()> {
        Err(self.error())
    }
}
