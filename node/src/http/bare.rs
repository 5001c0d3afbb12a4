//! Answers to what is no request: a connection above the cap, a head that cannot be read. No route
//! and no layer sees these, so the whole answer is written here, as the problem that it would be.

use bytes::Bytes;
use http::StatusCode;

use super::envelope::{REQUEST_ID, RequestContext, minted};
use super::problem::{Fault, PROBLEM_JSON};

/// The answer to who comes above the cap.
pub(super) fn too_many_connections(request_id_prefix: &str) -> Bytes {
    draw(&Fault::too_many_connections(), request_id_prefix)
}

/// What to send instead of an answer that hyper made by itself; `None` if these bytes are no such
/// answer's.
pub(super) fn answer_to_no_request(bytes: &[u8], request_id_prefix: &str) -> Option<Bytes> {
    let status = bytes.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    let fault = match StatusCode::from_bytes(status).ok()? {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Fault::head_too_large(),
        StatusCode::URI_TOO_LONG => Fault::uri_too_long(),
        StatusCode::BAD_REQUEST => Fault::malformed_head(),
        _ => return None,
    };
    Some(draw(&fault, request_id_prefix))
}

fn draw(fault: &Fault, request_id_prefix: &str) -> Bytes {
    let context = RequestContext { request_id: minted(request_id_prefix), leader: None };
    let body = fault.problem(&context).to_string();
    let (status, id) = (fault.status, &context.request_id);
    let again = fault.retry_after_s.map(|seconds| format!("retry-after: {seconds}\r\n"));
    let head = format!(
        "HTTP/1.1 {} {}\r\ncontent-type: {PROBLEM_JSON}\r\n{REQUEST_ID}: {id}\r\n\
         cache-control: no-store\r\n{}connection: close\r\ncontent-length: {}\r\n\r\n",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default(),
        again.unwrap_or_default(),
        body.len(),
    );
    Bytes::from(head + &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_hyper_says_of_a_head_is_replaced() {
        let instead = |text: &str| answer_to_no_request(text.as_bytes(), "b");
        for (status, code) in
            [("400 Bad Request", "malformed_head"), ("431 Too", "head_too_large"), ("414 U", "uri")]
        {
            let text = instead(&format!("HTTP/1.1 {status}\r\n")).unwrap();
            let text = String::from_utf8(text.to_vec()).unwrap();
            assert!(text.contains(code) && text.contains("\r\nx-request-id: b-"), "{text}");
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.ends_with(&format!("content-length: {}", body.len())), "{text}");
        }
        for other in ["HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 Continue\r\n", "body", "HTTP/1.", ""] {
            assert_eq!(instead(other), None, "{other}");
        }
    }
}
