//! A file as an answer, read in pieces as the peer takes them.

use super::answer::{Answer, StreamError};
use crate::limits::ANSWER_CHUNK_BYTES;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use std::fs::File;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::task::JoinHandle;
use vault_core::exchange::Download;

type Piece = JoinHandle<(File, io::Result<Vec<u8>>)>;

struct FileBody {
    file: Option<File>,
    reading: Option<Piece>,
    left: u64,
}

/// The response for a file.
pub fn response(download: Download) -> Response<Answer> {
    let body = FileBody { file: Some(download.file), reading: None, left: download.length };
    let mut response = Response::new(Answer::Stream(body.boxed_unsync()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn read(mut file: File, most: u64) -> Piece {
    let most = usize::try_from(most).unwrap_or(usize::MAX).min(ANSWER_CHUNK_BYTES);
    tokio::task::spawn_blocking(move || {
        let mut piece = vec![0; most];
        let done = file.read_exact(&mut piece).map(|()| piece);
        (file, done)
    })
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let left = self.left;
        if self.reading.is_none() {
            self.reading = self.file.take().map(|file| read(file, left));
        }
        let Some(reading) = &mut self.reading else {
            return Poll::Ready(Some(Err("the file cannot be read any more".into())));
        };
        let done = ready!(Pin::new(reading).poll(cx));
        self.reading = None;
        Poll::Ready(Some(match done {
            Ok((file, Ok(piece))) => {
                self.file = Some(file);
                self.left = left.saturating_sub(piece.len() as u64);
                Ok(Frame::data(Bytes::from(piece)))
            }
            Ok((_, Err(e))) => Err(e.into()),
            Err(e) => Err(e.into()),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[tokio::test]
    async fn a_file_comes_whole_and_a_short_one_breaks_off() {
        let content: Vec<u8> = (0..3 * ANSWER_CHUNK_BYTES + 5).map(|i| i.to_le_bytes()[0]).collect();
        for (length, whole) in [(content.len() as u64, true), (content.len() as u64 + 1, false)] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("f");
            File::create(&path).unwrap().write_all(&content).unwrap();
            let response = response(Download { file: File::open(&path).unwrap(), length });
            assert_eq!(response.body().size_hint().exact(), Some(length));
            let got = response.into_body().collect().await;
            match whole {
                true => assert_eq!(got.unwrap().to_bytes(), content),
                false => assert!(got.is_err()),
            }
        }
    }
}
