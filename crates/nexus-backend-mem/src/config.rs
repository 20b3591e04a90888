//! From a mount URI to a store.

use std::sync::Arc;

use nexus_core::{
    Backend, Candidate, Error, ErrorKind, MountContext, MountUri, Operation, Result, async_trait,
};

use crate::MemBackend;

struct Prepared(MemBackend);

#[async_trait]
impl Candidate for Prepared {
    async fn check_credentials(&mut self) -> Result<()> {
        Ok(())
    }

    async fn open(self: Box<Self>) -> Result<Arc<dyn Backend>> {
        Ok(Arc::new(self.0))
    }
}

pub(crate) fn build(uri: &MountUri, _: &MountContext) -> Result<Box<dyn Candidate>> {
    let limit = uri.option("limit").map(parse_bytes).transpose()?;
    Ok(Box::new(Prepared(MemBackend::build(uri.to_string(), limit))))
}

/// A number of bytes, with `K`, `M` or `G` for powers of 1024.
fn parse_bytes(text: &str) -> Result<u64> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'M') => (&text[..text.len() - 1], 1 << 20),
        Some(b'G') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    let whole = digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.parse::<u64>().ok().filter(|_| whole);
    number.and_then(|number| number.checked_mul(unit)).ok_or_else(|| {
        Error::new(ErrorKind::InvalidOption, "option `limit` takes a number of bytes")
            .with_operation(Operation::Mount)
            .with_hint("write it like `limit=64M`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_units() {
        assert_eq!(parse_bytes("0").unwrap(), 0);
        assert_eq!(parse_bytes("12K").unwrap(), 12 << 10);
        assert_eq!(parse_bytes("3G").unwrap(), 3 << 30);
        for bad in ["", "K", "-1", "+1", "1k", "1 M", "99999999999G"] {
            assert_eq!(parse_bytes(bad).unwrap_err().kind(), ErrorKind::InvalidOption, "{bad}");
        }
    }
}
