//! A file as a row of shared pieces: the same bytes may stand in it many times and are held once.

use std::sync::Arc;

use bytes::Bytes;

/// The bytes of a file; a copy shares everything with its original.
#[derive(Clone, Debug)]
pub(crate) struct Rope {
    /// Each piece with the offset at which it ends.
    pieces: Arc<[(usize, Bytes)]>,
    held: usize,
}

impl Rope {
    /// Pieces one after the other; `held` is the memory behind them.
    pub(crate) fn new(pieces: impl IntoIterator<Item = Bytes>, held: usize) -> Self {
        let mut end = 0;
        let pieces = pieces.into_iter().map(|piece| {
            end += piece.len();
            (end, piece)
        });
        Self { pieces: pieces.collect(), held }
    }

    /// Length of the file.
    pub(crate) fn len(&self) -> usize {
        self.pieces.last().map_or(0, |(end, _)| *end)
    }

    /// Bytes of memory behind it.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// The bytes from `start` up to but not including `end`, which must lie in the file, as slices of the pieces.
    pub(crate) fn slice(&self, start: usize, end: usize) -> Vec<Bytes> {
        let first = self.pieces.partition_point(|(piece_end, _)| *piece_end <= start);
        self.pieces[first..]
            .iter()
            .map(|(piece_end, piece)| (piece_end - piece.len(), piece))
            .take_while(|(piece_start, _)| *piece_start < end)
            .map(|(from, piece)| piece.slice(start.saturating_sub(from)..piece.len().min(end - from)))
            .collect()
    }
}

impl From<Bytes> for Rope {
    fn from(whole: Bytes) -> Self {
        let held = whole.len();
        Self::new([whole], held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slice_is_that_of_the_whole() {
        let block = Bytes::from_static(b"abc");
        let rope =
            Rope::new([Bytes::from_static(b"12"), block.clone(), Bytes::new(), block.clone(), block], 5);
        let whole = b"12abcabcabc";
        assert_eq!((rope.len(), rope.held()), (11, 5));
        for start in 0..=11 {
            for end in start..=11 {
                assert_eq!(rope.slice(start, end).concat(), &whole[start..end], "{start}..{end}");
            }
        }
        assert_eq!(Rope::from(Bytes::new()).slice(0, 0).concat(), b"");
    }
}
