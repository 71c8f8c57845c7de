//! zstd, with contexts that are used again.
//!
//! Making a context asks the CPU what it can do, which under a hypervisor is a trap that takes longer than
//! most batches, and allocates 100 KB. So each thread keeps one of each kind. A context is reset before it is
//! used, and what it gives does not depend on what it was used for before; a thread keeps no large ones.

use std::cell::Cell;
use std::io::Write;

use zstd::stream::write::Encoder;
use zstd::zstd_safe::{CCtx, CParameter, DCtx, InBuffer, OutBuffer, ResetDirective};

thread_local! {
    static INFLATING: Kept<DCtx<'static>> = const { Cell::new(None) };
    static COMPRESSING: Kept<CCtx<'static>> = const { Cell::new(None) };
}

type Kept<T> = Cell<Option<T>>;

/// A context that has grown beyond this is given back: a frame may ask for a window of 128 MiB.
const LARGEST_KEPT: usize = 4 << 20;

/// Reads frames, one after the other.
pub(super) struct Frames<'a> {
    context: Lent<DCtx<'static>>,
    rest: &'a [u8],
    /// Whether a frame has begun and not ended. There must be one frame at least.
    open: bool,
}

/// Appends one frame to `out`. The level is in zstd's range.
pub(super) fn compress(level: i32, bytes: &[u8], out: &mut Vec<u8>) -> std::io::Result<()> {
    let mut context = Lent::<CCtx<'static>>::take();
    context.get().set_parameter(CParameter::CompressionLevel(level)).map_err(error)?;
    let mut encoder = Encoder::with_context(out, context.get());
    encoder.set_pledged_src_size(u64::try_from(bytes.len()).ok())?;
    encoder.write_all(bytes)?;
    encoder.finish().map(|_| ())
}

impl<'a> Frames<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let mut context = Lent::<DCtx<'static>>::take();
        context.get().reset(ResetDirective::SessionOnly).expect("a session can always be reset");
        Self { context, rest: bytes, open: true }
    }

    /// Fills `out` as far as zstd gives at once; 0 means the end, if `out` is not empty. `None` if the bytes
    /// are no frames, or end within one.
    pub(super) fn read(&mut self, out: &mut [u8]) -> Option<usize> {
        let mut output = OutBuffer::around(out);
        loop {
            self.open |= !self.rest.is_empty();
            if !self.open {
                return Some(0);
            }
            let mut input = InBuffer::around(self.rest);
            let hint = self.context.get().decompress_stream(&mut output, &mut input).ok()?;
            let (read, written) = (input.pos(), output.pos());
            self.rest = &self.rest[read..];
            self.open = hint > 0;
            if written > 0 {
                return Some(written);
            }
            if read == 0 && self.open {
                return None;
            }
        }
    }
}

/// A context that goes back to its thread when it is dropped.
struct Lent<T: Context> {
    /// There until then.
    context: Option<T>,
}

trait Context: Sized {
    /// The thread's own, or a new one.
    fn take() -> Self;
    /// For the next one on this thread.
    fn keep(self);
    /// How much memory it holds.
    fn size(&self) -> usize;
}

impl Context for DCtx<'static> {
    fn take() -> Self {
        INFLATING.take().unwrap_or_else(Self::create)
    }

    fn keep(self) {
        INFLATING.set(Some(self));
    }

    fn size(&self) -> usize {
        self.sizeof()
    }
}

impl Context for CCtx<'static> {
    fn take() -> Self {
        COMPRESSING.take().unwrap_or_else(Self::create)
    }

    fn keep(self) {
        COMPRESSING.set(Some(self));
    }

    fn size(&self) -> usize {
        self.sizeof()
    }
}

impl<T: Context> Lent<T> {
    fn take() -> Self {
        Self { context: Some(T::take()) }
    }

    fn get(&mut self) -> &mut T {
        self.context.as_mut().expect("it is there until it is dropped")
    }
}

impl<T: Context> Drop for Lent<T> {
    fn drop(&mut self) {
        if let Some(context) = self.context.take().filter(|context| context.size() <= LARGEST_KEPT) {
            context.keep();
        }
    }
}

fn error(code: usize) -> std::io::Error {
    std::io::Error::other(zstd::zstd_safe::get_error_name(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(bytes: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        compress(3, bytes, &mut frame).unwrap();
        frame
    }

    /// Reads in pieces of this length.
    fn inflate(bytes: &[u8], piece: usize) -> Option<Vec<u8>> {
        let mut frames = Frames::new(bytes);
        let (mut all, mut buffer) = (Vec::new(), vec![0; piece]);
        loop {
            match frames.read(&mut buffer)? {
                0 => return Some(all),
                read => all.extend_from_slice(&buffer[..read]),
            }
        }
    }

    #[test]
    fn frames_follow_each_other_and_are_read_in_any_pieces() {
        let long: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
        let stream = [frame(&long), frame(b""), frame(b"end")].concat();
        for piece in [1, 1000, 1 << 20] {
            assert_eq!(inflate(&stream, piece), Some([&long[..], b"end"].concat()), "{piece}");
        }
    }

    #[test]
    fn a_frame_that_is_cut_or_missing_is_damage() {
        let whole = frame(b"some bytes that are long enough");
        for len in 0..whole.len() {
            assert_eq!(inflate(&whole[..len], 100), None, "{len}");
        }
        assert_eq!(inflate(&[&whole[..], b"more"].concat(), 100), None);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "another thread has contexts that were never used")]
    fn a_context_forgets_what_it_was_used_for() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|n| (n.wrapping_mul(n) % 239) as u8).collect();
        let fresh = std::thread::spawn({
            let bytes = bytes.clone();
            move || frame(&bytes)
        });
        let fresh = fresh.join().unwrap();
        assert!(inflate(&fresh[..fresh.len() / 2], 50).is_none());
        compress(19, &bytes[..5000], &mut Vec::new()).unwrap();
        assert_eq!(frame(&bytes), fresh);
        assert_eq!(inflate(&fresh, 4096), Some(bytes));
    }
}
