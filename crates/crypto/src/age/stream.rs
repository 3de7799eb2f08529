//! The payload: chunks under ChaCha20-Poly1305, counted, the last one marked (<https://c2sp.org/age>, "Payload").

use std::io::{self, BufRead, Read, Write};

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::{Zeroize, Zeroizing};

use super::Error;
use crate::certain;
use crate::secret::Secret;

/// Bytes of a full chunk, before encryption.
pub const CHUNK: usize = 64 * 1024;
const TAG: usize = 16;

/// The cipher and its place in the stream.
struct Cipher {
    key: LessSafeKey,
    counter: u64,
}

impl Cipher {
    fn new(key: &Secret<[u8; 32]>) -> Cipher {
        Cipher {
            key: LessSafeKey::new(certain(UnboundKey::new(&CHACHA20_POLY1305, key.expose()))),
            counter: 0,
        }
    }

    /// The nonce of the next chunk: eleven bytes of counter, of which eight are enough for 2^80 bytes, and the mark.
    fn nonce(&mut self, last: bool) -> Result<Nonce, Error> {
        let mut nonce = [0; 12];
        nonce[3..11].copy_from_slice(&self.counter.to_be_bytes());
        nonce[11] = u8::from(last);
        self.counter = self.counter.checked_add(1).ok_or(Error::Payload)?;
        Ok(Nonce::assume_unique_for_key(nonce))
    }

    fn seal(&mut self, chunk: &mut Vec<u8>, last: bool) -> Result<(), Error> {
        let nonce = self.nonce(last)?;
        certain(self.key.seal_in_place_append_tag(nonce, Aad::empty(), chunk));
        Ok(())
    }

    /// How many bytes of `chunk` are plaintext now. On a failure nothing of it is.
    fn open(&mut self, chunk: &mut [u8], last: bool) -> Result<usize, Error> {
        let nonce = self.nonce(last)?;
        let opened = self.key.open_in_place(nonce, Aad::empty(), chunk).map(|plain| plain.len());
        opened.map_err(|_| {
            chunk.zeroize();
            Error::Payload
        })
    }
}

/// Encrypts what is written to it. Without [`StreamWriter::finish`] what came out is no file.
pub struct StreamWriter<W: Write> {
    out: W,
    cipher: Cipher,
    chunk: Zeroizing<Vec<u8>>,
}

impl<W: Write> StreamWriter<W> {
    pub(super) fn new(key: &Secret<[u8; 32]>, out: W) -> StreamWriter<W> {
        StreamWriter { out, cipher: Cipher::new(key), chunk: Zeroizing::new(Vec::with_capacity(CHUNK + TAG)) }
    }

    fn put(&mut self, last: bool) -> Result<(), Error> {
        self.cipher.seal(&mut self.chunk, last)?;
        self.out.write_all(&self.chunk)?;
        self.chunk.clear();
        Ok(())
    }

    /// Writes the last chunk, and gives back where it wrote to.
    pub fn finish(mut self) -> Result<W, Error> {
        self.put(true)?;
        self.out.flush()?;
        Ok(self.out)
    }
}

impl<W: Write> Write for StreamWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full chunk waits until more comes, for it may be the last.
        if self.chunk.len() == CHUNK && !bytes.is_empty() {
            self.put(false)?;
        }
        let taken = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Decrypts what is read from it, a chunk at a time.
pub struct StreamReader<R> {
    input: R,
    cipher: Cipher,
    chunk: Zeroizing<Vec<u8>>,
    /// Which bytes of the chunk are still to be handed out.
    ready: std::ops::Range<usize>,
    /// Set with the last chunk.
    ended: bool,
    failed: Option<Error>,
}

impl<R: BufRead> StreamReader<R> {
    pub(super) fn new(key: &Secret<[u8; 32]>, input: R) -> StreamReader<R> {
        let cipher = Cipher::new(key);
        StreamReader { input, cipher, chunk: Zeroizing::default(), ready: 0..0, ended: false, failed: None }
    }

    fn advance(&mut self) -> Result<(), Error> {
        let first = self.cipher.counter == 0;
        self.chunk.zeroize();
        self.chunk.reserve_exact(CHUNK + TAG);
        self.input.by_ref().take((CHUNK + TAG) as u64).read_to_end(&mut self.chunk)?;
        // Only at the end of the input can this be the last chunk, and there it must be.
        let last = self.chunk.len() < CHUNK + TAG || self.input.fill_buf()?.is_empty();
        let length = self.cipher.open(&mut self.chunk, last)?;
        if length == 0 && !first {
            return Err(Error::Payload);
        }
        (self.ready, self.ended) = (0..length, last);
        Ok(())
    }
}

impl<R: BufRead> StreamReader<R> {
    /// Writes everything that is left to `out`, from where it was decrypted: no copy lies elsewhere. What was written before
    /// a failure is authentic, but not whole.
    pub fn copy_to(&mut self, out: &mut dyn Write) -> Result<(), Error> {
        loop {
            out.write_all(self.chunk.get(self.ready.clone()).unwrap_or_default())?;
            self.ready = 0..0;
            if self.ended {
                return Ok(out.flush()?);
            }
            self.advance()?;
        }
    }
}

impl<R: BufRead> Read for StreamReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone().into());
        }
        if self.ready.is_empty()
            && !self.ended
            && !out.is_empty()
            && let Err(error) = self.advance()
        {
            // A failed reader stays failed: nothing behind a break is ever handed out.
            self.failed = Some(error.clone());
            return Err(error.into());
        }
        let ready = self.chunk.get(self.ready.clone()).unwrap_or_default();
        let taken = ready.len().min(out.len());
        if let (Some(to), Some(from)) = (out.get_mut(..taken), ready.get(..taken)) {
            to.copy_from_slice(from);
        }
        self.ready.start += taken;
        Ok(taken)
    }
}
