//! How an upload of unknown length is cut into parts, and pieces become parts.

use nexus_core::{Bytes, Error, ErrorKind, Result};

/// The sizes of parts, by their number. Only the last part of an upload may be smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// The first half of the parts.
    first: u64,
    /// The others: larger, so that a stream of any usual length fits into the parts there are.
    later: u64,
    /// The most parts of one upload.
    most: u32,
}

impl Sizes {
    /// Small parts for as long as there are many left, then larger ones.
    pub(crate) fn growing(first: u64, later: u64, most: u32) -> Self {
        Self { first, later, most }
    }

    /// Parts of one size.
    pub(crate) fn fixed(size: u64, most: u32) -> Self {
        Self { first: size, later: size, most }
    }

    /// The size of the part with this number, from 1 on.
    ///
    /// # Errors
    /// `TooLarge` past the last part that an upload may have.
    pub(crate) fn of(self, number: u32) -> Result<u64> {
        if number <= self.most / 2 {
            return Ok(self.first);
        }
        if number <= self.most {
            return Ok(self.later);
        }
        let message = format!("the content is larger than {} parts can hold", self.most);
        Err(Error::new(ErrorKind::TooLarge, message)
            .with_hint("mount with a larger `part_size`, as in `part_size=512M`"))
    }
}

/// Pieces that wait until they make a part. A part that is one piece is not copied.
#[derive(Default)]
pub(crate) struct Pending {
    pieces: Vec<Bytes>,
    bytes: u64,
}

impl Pending {
    /// Takes the next piece.
    pub(crate) fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len() as u64;
        if !piece.is_empty() {
            self.pieces.push(piece);
        }
    }

    /// Bytes that wait.
    pub(crate) fn len(&self) -> u64 {
        self.bytes
    }

    /// The first `size` bytes, or all of them when there are fewer.
    pub(crate) fn take(&mut self, size: u64) -> Bytes {
        let size = usize::try_from(size.min(self.bytes)).unwrap_or(usize::MAX);
        self.bytes -= size as u64;
        if let Some(first) = self.pieces.first_mut()
            && first.len() >= size
        {
            let part = first.split_to(size);
            self.pieces.retain(|piece| !piece.is_empty());
            return part;
        }
        let mut part = Vec::with_capacity(size);
        let mut whole = 0;
        for piece in &mut self.pieces {
            let taken = piece.split_to(piece.len().min(size - part.len()));
            part.extend_from_slice(&taken);
            if !piece.is_empty() {
                break;
            }
            whole += 1;
        }
        self.pieces.drain(..whole);
        part.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_grow_once_and_end() {
        let sizes = Sizes::growing(8, 64, 10);
        let all: Vec<_> = (1..=10).map(|number| sizes.of(number).unwrap()).collect();
        assert_eq!(all, [8, 8, 8, 8, 8, 64, 64, 64, 64, 64]);
        assert_eq!(sizes.of(11).unwrap_err().kind(), ErrorKind::TooLarge);
        assert_eq!(Sizes::fixed(5, 3).of(3).unwrap(), 5);
    }

    #[test]
    fn parts_are_cut_across_pieces() {
        let mut pending = Pending::default();
        for piece in ["abc", "", "defg", "h"] {
            pending.push(piece.into());
        }
        assert_eq!(pending.len(), 8);
        assert_eq!(pending.take(2), "ab");
        assert_eq!(pending.take(4), "cdef");
        assert_eq!(pending.len(), 2);
        assert_eq!(pending.take(9), "gh");
        assert_eq!(pending.take(9), "");
        assert_eq!(pending.len(), 0);
    }

    #[test]
    fn a_part_of_one_piece_shares_its_memory() {
        let whole = Bytes::from(vec![7; 100]);
        let mut pending = Pending::default();
        pending.push(whole.clone());
        assert_eq!(pending.take(60).as_ptr(), whole.as_ptr());
        assert_eq!(pending.take(40).as_ptr(), whole[60..].as_ptr());
    }
}
