//! What no handler may have to interpret: whom a request is for, and how its body is framed.

use super::answer::Answer;
use super::envelope::refuse;
use super::refusal::Refusal;
use http::header::{HOST, TRANSFER_ENCODING};
use http::{Request, Response};

/// The answer to a request that two parties could read in two ways.
pub fn refuse_ambiguous<B>(request: &Request<B>) -> Option<Response<Answer>> {
    let headers = request.headers();
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Some(bad("the request has more than one Host header"));
    }
    // HTTP/2 names it twice when it has both (RFC 9113, 8.3.1).
    let authority = request.uri().authority().map(|a| a.as_str().as_bytes());
    if let (Some(host), Some(authority)) = (host, authority)
        && !host.as_bytes().eq_ignore_ascii_case(authority)
    {
        return Some(bad("Host and :authority name different hosts"));
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next()
        && (codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
    {
        return Some(bad("the only transfer coding is \"chunked\""));
    }
    None
}

fn bad(why: &'static str) -> Response<Answer> {
    refuse(&Refusal::bad(why).closing())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    #[test]
    fn one_host_and_one_coding() {
        for (uri, headers, fine) in [
            ("/", &[("host", "a")][..], true),
            ("/", &[], true),
            ("/", &[("host", "a"), ("host", "a")], false),
            ("https://a/", &[], true),
            ("https://a/", &[("host", "A")], true),
            ("https://a/", &[("host", "b")], false),
            ("/", &[("transfer-encoding", "chunked")], true),
            ("/", &[("transfer-encoding", "Chunked")], true),
            ("/", &[("transfer-encoding", "gzip, chunked")], false),
            ("/", &[("transfer-encoding", "chunked, chunked")], false),
            ("/", &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], false),
            ("/", &[("transfer-encoding", "identity")], false),
        ] {
            let mut request = Request::builder().uri(uri);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let answer = refuse_ambiguous(&request.body(()).expect("request"));
            let want = (!fine).then_some(StatusCode::BAD_REQUEST);
            assert_eq!(answer.map(|a| a.status()), want, "{uri} {headers:?}");
        }
    }
}
