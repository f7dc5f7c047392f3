//! The request pipeline, in order: identify, decide, record the request, charge, run in one
//! transaction, commit, record the answer. Each step takes what only the step before can make.

use crate::audit::{Audited, Exempt, Recorded, Unaudited};
use crate::binding::CallerReader;
use crate::exchange::{Incoming, Reply, ReplyBody, Verb};
use crate::help::help;
use crate::limits::MAX_TXN_ATTEMPTS;
use crate::metrics::Asked;
use crate::mounts::Mounted;
use crate::policy::{Acl, Decision, Query};
use crate::record::Facts;
use crate::sys::{self, After, Call, Done};
use crate::token::{NewToken, TokenCall, TokenEntry, UseOutcome};
use crate::unsealed::{Unsealed, matches};
use crate::view::MountView;
use crate::{fault, record};
use async_trait::async_trait;
use secmem::{ExposeSecret, SecretString};
use std::sync::Arc;
use storage::{CommitError, Transaction};
use vault_logical::{
    Binding, Charge, Context, Error, ErrorKind, Operation, Request, Result, SecretReader, Transport, chain,
};

/// Where a path leads.
pub enum Target {
    Sys,
    Token,
    Mount(Arc<Mounted>),
}

/// A request that was let in: who, what, where, under which rules.
pub struct Admitted {
    pub caller: Option<Arc<TokenEntry>>,
    pub acl: Arc<Acl>,
    pub target: Target,
    /// Below the mount; ends in `/` (or is empty) for LIST.
    pub rest: String,
    /// The whole path as policies see it.
    pub acl_path: String,
    /// The second path of the same thing, where Vault's API has one.
    other_path: Option<String>,
    pub operation: Operation,
    pub decision: Decision,
    /// Holds the existence check in its read set, so that the decision cannot go stale unnoticed.
    txn: Option<Transaction>,
    sudo: bool,
    /// No policy is asked: a login, or a path that answers only what the caller's policies show.
    open: bool,
}

impl Admitted {
    /// What the caller's policies say of an operation on this path, under either of its names.
    fn may(&self, operation: Operation) -> Decision {
        if self.other_path.as_deref().is_some_and(|p| self.acl.denies(p)) {
            return Decision::default();
        }
        self.acl.check(&query(operation, &self.acl_path, self.sudo))
    }
}

/// Whether there is something for the caller where `path` leads, or would lead. What every vault has
/// is no secret.
fn may_see(acl: &Acl, found: Option<&(Target, String)>, path: &str) -> bool {
    match found {
        Some((Target::Sys | Target::Token, _)) => true,
        Some((Target::Mount(m), _)) => acl.touches(&m.mount.path),
        None => {
            // The shortest path that a mount could have there.
            let names = if path.starts_with("auth/") { 2 } else { 1 };
            acl.touches(&path.split_inclusive('/').take(names).collect::<String>())
        }
    }
}

/// Why a request was turned away, with what is known of the caller for the record.
struct Refusal {
    caller: Option<Arc<TokenEntry>>,
    operation: Operation,
    error: Error,
}

/// What a request came to, before it is recorded.
pub struct Finished {
    pub outcome: Result<Done>,
    pub mount_type: String,
    pub list: bool,
}

impl Unsealed {
    /// Serves one request. The flag asks the core to seal, now that the answer is recorded.
    pub(crate) async fn serve(self: &Arc<Self>, r: Incoming) -> (Reply, bool, Asked) {
        let (asked, recorded) = match self.admit(&r).await {
            Ok(admitted) => {
                let asked = asked(&r, Some(&admitted.target), admitted.operation, admitted.caller.is_none());
                (asked, self.run(&r, admitted).await)
            }
            Err(refusal) => {
                let found = self.resolve(&r.path, r.verb).map(|(target, _)| target);
                (asked(&r, found.as_ref(), refusal.operation, false), self.turn_away(&r, refusal).await)
            }
        };
        let (reply, seal) = self.finish(&r, recorded).await;
        (reply, seal, asked)
    }

    async fn admit(&self, r: &Incoming) -> Result<Admitted, Refusal> {
        let operation = first_guess(r.verb);
        let refuse =
            |caller: &Option<Arc<TokenEntry>>, error| Refusal { caller: caller.clone(), operation, error };
        self.mounts.refresh().await.map_err(|e| refuse(&None, e))?;
        let caller = match &r.token {
            Some(t) => self.tokens.lookup(t.expose_secret()).await.map_err(|e| refuse(&None, e))?,
            None => None,
        };
        if !matches!(r.namespace.as_str(), "" | "root") {
            return Err(refuse(&caller, Error::new(ErrorKind::UnsupportedPath, "no such namespace")));
        }
        let found = self.resolve(&r.path, r.verb);
        let open = matches!(&found, Some((Target::Mount(m), rest))
            if m.engine.descriptor().unauthenticated.iter().any(|p| matches(p, rest)))
            || sys::generate_root::open(r, caller.is_some())
            || (caller.is_none() && sys::open(r));
        if caller.is_none() && !open {
            return Err(refuse(&caller, Error::unknown_caller()));
        }
        if r.wrap_ttl.as_deref().is_some_and(|t| !matches!(t, "" | "0" | "0s")) {
            return Err(refuse(&caller, sys::unbuilt("response wrapping")));
        }
        let acl = match &caller {
            Some(c) => self.policies.acl(&c.policies).await.map_err(|e| refuse(&caller, e))?,
            None => Arc::new(Acl::new(&[])),
        };
        // HELP tells that a mount is there: only those who may do something in it, or would see it in
        // the list of mounts, may ask.
        if r.verb == Verb::Help && !open && !may_see(&acl, found.as_ref(), &r.path) {
            return Err(refuse(&caller, Error::denied()));
        }
        let acl_path = listed(&r.path, r.verb);
        let other_path = sys::other_path(&acl_path);
        let sudo = self.needs_sudo(&acl_path) || other_path.as_deref().is_some_and(|p| self.needs_sudo(p));
        // Without a route the answer must not tell more than to a caller without rights.
        let Some((target, rest)) = found else {
            let allowed = r.verb == Verb::Help || acl.check(&query(operation, &acl_path, sudo)).allowed;
            let text = format!("no handler for route \"{}\". route entry not found.", r.path);
            let error = if allowed { Error::new(ErrorKind::UnsupportedPath, text) } else { Error::denied() };
            return Err(refuse(&caller, error));
        };
        let mut admitted = Admitted {
            other_path,
            // Refused until `decide` has spoken.
            decision: Decision::default(),
            caller,
            acl,
            target,
            rest,
            acl_path,
            operation,
            txn: None,
            sudo,
            open: open || shows_only_ones_own(&r.path),
        };
        match self.decide(r, &mut admitted).await {
            Ok(()) => Ok(admitted),
            Err(error) => Err(Refusal { caller: admitted.caller, operation: admitted.operation, error }),
        }
    }

    /// Tells create from update by the engine's existence check, then asks the ACL.
    async fn decide(&self, r: &Incoming, a: &mut Admitted) -> Result<()> {
        let mut txn = self.store.begin();
        if r.verb == Verb::Write {
            // Where neither outcome is allowed, what exists is not looked at: not even the time tells.
            if !a.open && !a.may(Operation::Create).allowed && !a.may(Operation::Update).allowed {
                return Err(Error::denied());
            }
            whole(r)?;
            a.operation = match self.exists(&mut txn, r, a).await? {
                Some(false) => Operation::Create,
                _ => Operation::Update,
            };
        }
        a.txn = Some(txn);
        a.decision = a.may(a.operation);
        // Whether HELP is given has been decided before.
        if !a.open && !a.decision.allowed && r.verb != Verb::Help {
            return Err(Error::denied());
        }
        whole(r)?;
        // `x/` was allowed, and there is no such thing as reading it: to read `x` by that name
        // would pass by the rules for `x`.
        if r.verb == Verb::Read && r.path.ends_with('/') && !sys::is_folder(&r.path) {
            return Err(Error::unsupported_path());
        }
        Ok(())
    }

    async fn exists(&self, txn: &mut Transaction, r: &Incoming, a: &Admitted) -> Result<Option<bool>> {
        match &a.target {
            Target::Mount(m) => {
                let request = self.request(r, a);
                let mut view = MountView::new(txn, m.space);
                m.engine.exists(&mut self.context(&mut view, m, &NoReader), &request).await
            }
            Target::Token => self.tokens.exists(txn, &a.rest).await,
            Target::Sys => Ok(None),
        }
    }

    fn resolve(&self, path: &str, verb: Verb) -> Option<(Target, String)> {
        let path = listed(path, verb);
        match (verb, path.as_str()) {
            (Verb::Help, "sys") => return Some((Target::Sys, String::new())),
            (Verb::Help, "auth/token") => return Some((Target::Token, String::new())),
            _ => {}
        }
        if let Some(rest) = path.strip_prefix("sys/") {
            return Some((Target::Sys, rest.to_string()));
        }
        if let Some(rest) = path.strip_prefix("auth/token/") {
            return Some((Target::Token, rest.to_string()));
        }
        if let Some((m, rest)) = self.mounts.route(&path) {
            return Some((Target::Mount(m), rest.to_string()));
        }
        // `secret` names the mount `secret/` itself.
        let m = self.mounts.at(&format!("{path}/"))?;
        Some((Target::Mount(m), String::new()))
    }

    fn request(&self, r: &Incoming, a: &Admitted) -> Request {
        Request {
            id: r.id,
            operation: a.operation,
            path: a.rest.clone(),
            data: r.data.clone(),
            caller: a.caller.as_ref().map(|c| c.caller.clone()),
            connection: r.connection.clone(),
            merge_patch: r.merge_patch,
        }
    }

    pub(crate) fn context<'a>(
        &'a self,
        view: &'a mut MountView<'_>,
        m: &'a Mounted,
        secrets: &'a dyn SecretReader,
    ) -> Context<'a> {
        Context { view, clock: &*self.clock, mount: &m.mount, secrets }
    }

    /// Records and runs an admitted request.
    async fn run(self: &Arc<Self>, r: &Incoming, mut a: Admitted) -> Recorded<Finished> {
        let facts = Facts::admitted(r, &a);
        let hashes = facts.hashes(&self.audit);
        let entry = facts.entry(hashes.as_deref(), None);
        let lookup = only_looks_up(r, &a);
        let held = if lookup { self.audit.lookup(&entry).ok().flatten() } else { None };
        let audited = match held {
            Some(proof) => proof,
            None => match (self.audit.request(&entry).await, exempt(r, &a)) {
                (Ok(proof), _) => proof,
                (Err(_), Some(why)) => Audited::exempt(r.id, why),
                (Err(e), None) => return not_recorded(e.into()),
            },
        };
        let outcome = self.perform(&audited, r, &mut a).await;
        let finished =
            Finished { outcome, mount_type: facts.mount_type().to_string(), list: r.verb == Verb::List };
        match record::response(&self.audit, audited, &entry, &facts, finished).await {
            Ok(recorded) => recorded,
            // Nothing was done, so nothing is to be taken back.
            Err((e, _)) if lookup => not_recorded(e.into()),
            Err((e, finished)) => {
                // The caller never learns of what it was given: take it back.
                if let Ok(Done { auth: Some(issued), created: true, .. }) = &finished.outcome
                    && let Err(e) = self.tokens.revoke_accessor(&issued.accessor).await
                {
                    tracing::error!(error = %e, "token of an unrecorded answer was not revoked");
                }
                tracing::error!(error = %e, "the answer could not be recorded");
                if let Ok(Done { after: After::AuditDisable(name), .. }) = &finished.outcome {
                    self.stop_device(name).await;
                }
                not_recorded(Error::new(
                    ErrorKind::Internal,
                    "internal error: the answer could not be recorded",
                ))
            }
        }
    }

    /// Refused before the mount: on record like any other, with the reason.
    async fn turn_away(&self, r: &Incoming, refusal: Refusal) -> Recorded<Finished> {
        let facts = Facts::refused(r, refusal.caller.as_ref(), refusal.operation);
        let hashes = facts.hashes(&self.audit);
        let reason = refusal.error.message().to_string();
        let entry = facts.entry(hashes.as_deref(), Some(&reason));
        let audited = match self.audit.request(&entry).await {
            Ok(proof) => proof,
            Err(e) => return not_recorded(e.into()),
        };
        let finished =
            Finished { outcome: Err(refusal.error), mount_type: String::new(), list: r.verb == Verb::List };
        record::response(&self.audit, audited, &entry, &facts, finished)
            .await
            .unwrap_or_else(|(e, _)| not_recorded(e.into()))
    }

    async fn perform(self: &Arc<Self>, proof: &Audited, r: &Incoming, a: &mut Admitted) -> Result<Done> {
        if r.verb == Verb::Help {
            return help(&a.target, &a.rest);
        }
        let mut spent = None;
        if let Some(c) = &a.caller {
            match self.tokens.charge_use(c).await? {
                UseOutcome::Unlimited | UseOutcome::Left(_) => {}
                UseOutcome::Last => spent = Some(c.clone()),
                UseOutcome::Exhausted => return Err(Error::denied()),
            }
        }
        let outcome = self.charged(proof, r, a).await;
        if let Some(c) = spent
            && let Err(e) = self.tokens.end_last_use(&c).await
        {
            // It has no use left, and the job stored with the charge removes it.
            tracing::warn!(error = %e, "a token after its last use was left to the sweeper");
        }
        outcome
    }

    async fn charged(self: &Arc<Self>, proof: &Audited, r: &Incoming, a: &mut Admitted) -> Result<Done> {
        let mut request = self.request(r, a);
        let charge = match &a.target {
            Target::Mount(m) => {
                let m = m.clone();
                self.warm(&m).await?;
                m.engine.prepare(&request).await?;
                self.charge(&m, &request).await?
            }
            _ => None,
        };
        self.transact(proof, r, a, &mut request, charge.as_ref()).await
    }

    /// Lets an engine read what its `prepare` needs, once.
    pub(crate) async fn warm(&self, m: &Mounted) -> Result<()> {
        if !m.engine.cold() {
            return Ok(());
        }
        let mut txn = self.store.begin();
        let mut view = MountView::new(&mut txn, m.space);
        m.engine.load(&mut self.context(&mut view, m, &NoReader)).await
    }

    /// The charge: counted one at a time for one key, kept whatever becomes of the request.
    async fn charge(&self, m: &Arc<Mounted>, request: &Request) -> Result<Option<Charge>> {
        let Some(key) = m.engine.charge_key(request) else { return Ok(None) };
        let _turn = self.charges.turn((&m.mount.path, &key)).await?;
        for _ in 0..MAX_TXN_ATTEMPTS {
            let mut txn = self.store.begin();
            let charged = {
                let mut view = MountView::new(&mut txn, m.space);
                m.engine.charge(&mut self.context(&mut view, m, &NoReader), request).await
            };
            match txn.commit().await {
                Ok(_) => return charged.map(Some),
                Err(CommitError::Conflict) => {}
                Err(e) => return Err(fault::commit(e)),
            }
        }
        Err(fault::commit(CommitError::Conflict))
    }

    /// Runs the request in one transaction, again when another got in its way.
    async fn transact(
        self: &Arc<Self>,
        proof: &Audited,
        r: &Incoming,
        a: &mut Admitted,
        request: &mut Request,
        charge: Option<&Charge>,
    ) -> Result<Done> {
        for _ in 0..MAX_TXN_ATTEMPTS {
            if a.txn.is_none() {
                // Another transaction got in between: the token, the policies, the mount, what
                // exists, and so what is allowed may differ.
                if let Some(c) = &a.caller {
                    if !self.tokens.still_valid(c).await? {
                        return Err(Error::denied());
                    }
                    a.acl = self.policies.acl(&c.policies).await?;
                }
                self.mounts.refresh().await?;
                if let Target::Mount(old) = &a.target {
                    match self.resolve(&r.path, r.verb) {
                        Some((Target::Mount(m), rest)) if m.mount.uuid == old.mount.uuid => {
                            a.target = Target::Mount(m);
                            a.rest = rest;
                        }
                        _ => return Err(Error::not_found()),
                    }
                }
                self.decide(r, a).await?;
                request.operation = a.operation;
            }
            let Some(mut txn) = a.txn.take() else { break };
            if request.operation.writes() {
                if let Some(c) = &a.caller {
                    self.tokens.pin(&mut txn, c);
                }
                if let Target::Mount(m) = &a.target {
                    self.mounts.pin(&mut txn, m);
                }
            }
            if plain_write(a, request) {
                txn.anchor_may_follow();
            }
            let mut done = self.call(proof, &mut txn, r, a, request, charge).await?;
            if let (Some(auth), Target::Mount(m)) = (done.response.auth.take(), &a.target) {
                if !m.record.auth {
                    return Err(Error::internal("a secrets engine answered a login"));
                }
                let new = NewToken::login(&auth, &m.mount, &r.path);
                let (issued, warnings) = self.tokens.mint(&mut txn, new).await?;
                done.response.warnings.extend(warnings);
                done.auth = Some(issued);
                done.created = true;
            }
            let unanchored = match txn.commit().await {
                Ok(_) => None,
                // In force all the same: whatever follows a commit does.
                Err(e @ CommitError::Unanchored(_)) => Some(e),
                Err(e) => {
                    if let Some(name) = &done.undo_device {
                        self.audit.disable(name).await?;
                    }
                    match e {
                        CommitError::Conflict => continue,
                        e => return Err(fault::commit(e)),
                    }
                }
            };
            let settled = self.settle(&mut done).await;
            let Some(e) = unanchored else { return settled.map(|()| done) };
            if let Err(e) = settled {
                tracing::error!(error = %e, "what follows an unanchored commit failed too");
            }
            if let After::AuditDisable(name) = &done.after {
                self.stop_device(name).await;
            }
            return Err(fault::commit(e));
        }
        Err(fault::commit(CommitError::Conflict))
    }

    async fn call(
        self: &Arc<Self>,
        _proof: &Audited,
        txn: &mut Transaction,
        r: &Incoming,
        a: &Admitted,
        request: &Request,
        charge: Option<&Charge>,
    ) -> Result<Done> {
        match (&a.target, &a.caller) {
            (Target::Mount(m), _) => {
                let reader = CallerReader { core: self, acl: &a.acl };
                let mut view = MountView::new(txn, m.space);
                m.engine
                    .handle(&mut self.context(&mut view, m, &reader), request, charge)
                    .await
                    .map(Done::from)
            }
            (Target::Sys, Some(caller)) => {
                let call = Call { incoming: r, path: &a.rest, caller, acl: &a.acl };
                sys::handle(self, txn, call).await
            }
            (Target::Token, Some(caller)) => {
                let call = TokenCall {
                    operation: a.operation,
                    path: &a.rest,
                    data: &r.data,
                    caller,
                    presented: r.token.as_ref().map_or("", |t| t.expose_secret()),
                    sudo: a.acl.check(&query(a.operation, &a.acl_path, true)).allowed,
                };
                let (mut response, auth) = self.tokens.handle(txn, call).await?;
                let created = a.rest.starts_with("create");
                if let (true, Some(issued)) = (created, &auth) {
                    response.warnings.extend(self.missing_policies(&issued.policies).await?);
                }
                Ok(Done { auth, created, response, ..Done::default() })
            }
            (Target::Sys, None) if sys::open(r) => Ok(sys::anonymous(self)),
            (Target::Sys, None) if sys::generate_root::open(r, false) => {
                let rest = a.rest.strip_prefix("generate-root/").unwrap_or_default();
                sys::generate_root::handle(self, txn, r, rest).await
            }
            (_, None) => Err(Error::unknown_caller()),
        }
    }

    /// A warning for each policy of a new token that nobody has written (yet): it grants nothing.
    async fn missing_policies(&self, names: &[String]) -> Result<Vec<String>> {
        let mut warnings = Vec::new();
        for name in names {
            if !self.policies.exists(name).await? {
                warnings.push(format!("Policy \"{name}\" does not exist"));
            }
        }
        Ok(warnings)
    }

    /// What follows a commit and precedes the answer.
    async fn settle(&self, done: &mut Done) -> Result<()> {
        match &done.after {
            After::Rotate(rotation) => sys::keys::replace(self, *rotation).await?,
            After::RefreshMounts => {
                // The change is durable: a failure here is not the request's, and the next request
                // tries again.
                if let Err(e) = self.mounts.refresh().await {
                    tracing::error!(error = %e, "the mount table was not rebuilt");
                }
            }
            After::TestService(test) => done.response = self.test_service(test).await,
            _ => {}
        }
        Ok(())
    }

    async fn stop_device(&self, name: &str) {
        if let Err(e) = self.audit.disable(name).await {
            tracing::warn!(error = %e, "audit device was not closed");
        }
    }

    /// What the caller is not told: the cause of an error, for the operator.
    fn log_cause(&self, r: &Incoming, e: &Error) {
        let Some(cause) = std::error::Error::source(e) else { return };
        let cause = chain(cause);
        if matches!(e.kind(), ErrorKind::Internal | ErrorKind::Upstream) {
            tracing::error!(request_id = %r.id, path = %r.path, cause, "request failed");
        } else if let Some(withheld) = self.refusals.pass(std::time::Instant::now()) {
            // Anyone can have a login refused: so many lines a second, and the rest is counted.
            tracing::warn!(request_id = %r.id, path = %r.path, error = %e, cause, withheld, "request refused");
        }
    }

    async fn finish(&self, r: &Incoming, recorded: Recorded<Finished>) -> (Reply, bool) {
        let Finished { outcome, mount_type, list } = recorded.into_inner();
        let mut seal = false;
        let (body, close) = match outcome {
            Ok(done) => {
                match &done.after {
                    After::Seal => seal = true,
                    After::AuditDisable(name) => self.stop_device(name).await,
                    After::RootGenerated => sys::generate_root::finish(self, r.id).await,
                    After::Nothing
                    | After::RefreshMounts
                    | After::Rotate(_)
                    | After::TestService(_)
                    | After::Rekey(_) => {}
                }
                if let After::Rekey(proposal) = done.after {
                    let stored = self.store.commit_rekey(*proposal).await;
                    // In force: whoever asked must see the only shares that open the vault now.
                    if let Err(e @ storage::Error::Unanchored(_)) = stored {
                        tracing::error!(error = %e, "the new shares are in force without an anchor");
                    } else if let Err(e) = stored {
                        tracing::error!(error = %e, "rekey was not stored: the old shares stay in force");
                        let body = ReplyBody::Error(fault::storage(e));
                        return (Reply { request_id: r.id, body, close: true }, false);
                    }
                    tracing::info!("rekey complete");
                }
                let body = match (done.bare, done.download) {
                    (Some(json), _) => ReplyBody::Bare { status: 200, json },
                    (None, Some(download)) => ReplyBody::Download(download),
                    (None, None) => ReplyBody::Envelope {
                        response: done.response,
                        auth: done.auth,
                        flatten: done.flatten,
                        mount_type,
                        list,
                    },
                };
                (body, done.close || seal)
            }
            Err(e) => {
                self.log_cause(r, &e);
                (ReplyBody::Error(e), false)
            }
        };
        (Reply { request_id: r.id, body, close }, seal)
    }
}

/// Writes whose acknowledgement need not wait for the anchor (see `Transaction::anchor_may_follow`): a secret's new
/// value, a new token, a longer lease. Everything else waits.
fn plain_write(a: &Admitted, request: &Request) -> bool {
    match &a.target {
        Target::Mount(m) => m.engine.is_plain_write(request),
        Target::Token => a.rest.starts_with("create") || a.rest.starts_with("renew"),
        Target::Sys => false,
    }
}

/// For the count of requests.
fn asked(r: &Incoming, target: Option<&Target>, operation: Operation, anonymous: bool) -> Asked {
    let (mount_type, auth) = match target {
        None => ("", false),
        Some(Target::Sys) => ("system", false),
        Some(Target::Token) => ("token", false),
        Some(Target::Mount(m)) => (m.mount.type_name.as_str(), m.record.auth),
    };
    Asked::of(mount_type, r.verb, operation, auth && anonymous && r.verb == Verb::Write)
}

/// Nothing is charged, written or asked of anyone by this request, and audit trouble stops it.
fn only_looks_up(r: &Incoming, a: &Admitted) -> bool {
    let Target::Mount(m) = &a.target else { return false };
    m.engine.only_looks_up(a.operation)
        && matches!(r.verb, Verb::Read | Verb::List)
        && r.wrap_ttl.is_none()
        && a.caller.as_ref().is_some_and(|c| c.num_uses == 0)
        && exempt(r, a).is_none()
}

/// Only a LIST is about a folder. To change `x` by the name of `x/` would pass by the rules for `x`.
/// Said only to those who may write there: to others every path is alike.
fn whole(r: &Incoming) -> Result<()> {
    match r.verb {
        Verb::Write | Verb::Patch if r.path.ends_with('/') => {
            Err(Error::invalid("cannot write to a path ending in '/'"))
        }
        Verb::Delete if r.path.ends_with('/') => Err(Error::invalid("cannot delete a path ending in '/'")),
        _ => Ok(()),
    }
}

/// Requests that audit trouble must not stop.
fn exempt(r: &Incoming, a: &Admitted) -> Option<Exempt> {
    if matches!(a.target, Target::Sys) && r.verb == Verb::Write && a.rest == "seal" {
        return Some(Exempt::Seal);
    }
    let repair = matches!(a.target, Target::Sys) && (a.rest == "audit" || a.rest.starts_with("audit/"));
    (repair && r.connection.transport == Transport::Unix).then_some(Exempt::OperatorSocket)
}

fn not_recorded(e: Error) -> Recorded<Finished> {
    Recorded::unaudited(
        Unaudited::NotRecorded,
        Finished { outcome: Err(e), mount_type: String::new(), list: false },
    )
}

fn first_guess(verb: Verb) -> Operation {
    match verb {
        Verb::Read | Verb::Help => Operation::Read,
        Verb::Write => Operation::Update,
        Verb::Patch => Operation::Patch,
        Verb::Delete => Operation::Delete,
        Verb::List => Operation::List,
    }
}

/// `sys/internal/ui/mounts` answers any valid token with what its policies let it see: clients ask
/// it before every KV call.
fn shows_only_ones_own(path: &str) -> bool {
    path.strip_prefix("sys/internal/ui/mounts").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// LIST paths end in a slash; other paths are as sent.
fn listed(path: &str, verb: Verb) -> String {
    if verb == Verb::List && !path.ends_with('/') { format!("{path}/") } else { path.to_string() }
}

fn query(operation: Operation, path: &str, sudo: bool) -> Query<'_> {
    Query { operation, path, sudo, method: None }
}

/// For the phases in which an engine has no business with other secrets.
pub(crate) struct NoReader;

#[async_trait]
impl SecretReader for NoReader {
    async fn caller_may_read(&self, _path: &str) -> Result<bool> {
        Ok(false)
    }

    async fn bound_text(&self, _binding: &Binding) -> Result<Option<SecretString>> {
        Ok(None)
    }
}
