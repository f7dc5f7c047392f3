//! What every command gets: flags, streams, and a client on demand.

use crate::args::Flags;
use crate::failure::Failure;
use crate::io::Io;
use crate::output::Format;
use crate::{token_file, values};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;
use vault_client::{Builder, Call, Client, Preview};

/// One run of the command line.
pub struct Context<'a> {
    pub flags: Flags,
    pub io: Io<'a>,
    pub format: Format,
    /// A client was made and there was no token for it.
    tokenless: Cell<bool>,
    /// The client, when it only shows its calls.
    showing: RefCell<Option<Client>>,
}

impl<'a> Context<'a> {
    /// Flags win over environment variables.
    ///
    /// # Errors
    /// For an unknown `VAULT_FORMAT`.
    pub fn new(flags: Flags, io: Io<'a>) -> Result<Context<'a>, Failure> {
        let format = match (flags.format, io.var("VAULT_FORMAT")) {
            (Some(f), _) => f,
            (None, Some(name)) => clap::ValueEnum::from_str(&name, true)
                .map_err(|_| Failure::local(format!("VAULT_FORMAT: {name:?} is not table, json or yaml")))?,
            (None, None) => Format::default(),
        };
        Ok(Context { flags, io, format, tokenless: Cell::new(false), showing: RefCell::default() })
    }

    /// A client with the token of `VAULT_TOKEN` or `~/.vault-token`, if there is one.
    ///
    /// # Errors
    /// For unusable settings, or a token file that is not this user's alone.
    pub fn client(&self) -> Result<Client, Failure> {
        let client = self.anonymous()?;
        if !client.has_token() {
            let stored = match self.io.home() {
                Ok(home) => token_file::read(&home)?,
                Err(_) => None,
            };
            if let Some(token) = stored {
                client.set_token(token)?;
            }
            self.tokenless.set(!client.has_token());
        }
        Ok(client)
    }

    /// Adds what only this run knows to a failure: a refusal without a token has a simple cause.
    pub fn explain(&self, failure: Failure) -> Failure {
        if failure.denied && self.tokenless.get() {
            return failure.advise("There is no token: log in with vault-cli login, or set VAULT_TOKEN.");
        }
        failure
    }

    /// A client for calls that need no token; the token file is not read.
    ///
    /// # Errors
    /// For unusable settings.
    pub fn anonymous(&self) -> Result<Client, Failure> {
        let f = &self.flags;
        let mut b = Builder::from_lookup(|name| self.io.var(name))?;
        if let Some(a) = &f.address {
            b = b.address(a);
        }
        if let Some(p) = &f.ca_cert {
            b = b.only_ca_file(p);
        }
        if let Some(p) = &f.ca_path {
            b = b.ca_dir(p);
        }
        if let (Some(cert), Some(key)) = (&f.client_cert, &f.client_key) {
            b = b.client_certificate(cert, key);
        } else if f.client_cert.is_some() || f.client_key.is_some() {
            return Err(Failure::local("-client-cert and -client-key go together"));
        }
        if let Some(n) = &f.tls_server_name {
            b = b.server_name(n);
        }
        match f.tls_skip_verify {
            Some(true) => b = b.danger_skip_verify(),
            Some(false) => b = b.verify(),
            None => {}
        }
        if f.allow_tls12 {
            b = b.allow_tls12();
        }
        if f.danger_plain_http {
            b = b.danger_plain_http();
        }
        if let Some(n) = &f.namespace {
            b = b.namespace(n);
        }
        if !f.output_curl_string && !f.output_policy {
            return Ok(b.build()?);
        }
        let client = b.preview().build()?;
        *self.showing.borrow_mut() = Some(client.clone());
        Ok(client)
    }

    /// The call that was shown instead of sent, if that was asked for.
    pub fn preview(&self) -> Option<Arc<Preview>> {
        self.showing.borrow().as_ref().and_then(Client::take_preview)
    }

    /// Adds `-wrap-ttl` to a call.
    ///
    /// # Errors
    /// When it is no duration.
    pub fn wrap<'c>(&self, call: Call<'c>) -> Result<Call<'c>, Failure> {
        match &self.flags.wrap_ttl {
            Some(ttl) => Ok(call.wrap_ttl(Duration::from_secs(values::seconds(ttl)?))),
            None => Ok(call),
        }
    }
}
