//! Blobs of nodes, packed by zstd, and unpacked no further than is allowed.

use std::io::Read;

use crate::error::Error;

/// Level of compression: weights are nearly random, and a higher one takes long for little.
const LEVEL: i32 = 3;

/// Packs bytes.
pub(crate) fn pack(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    zstd::bulk::compress(bytes, LEVEL)
        .map_err(|error| Error::refused("an update", format!("cannot be packed: {error}")))
}

/// Unpacks bytes of somebody else that should give exactly `bytes`, of which at most `most` are allowed.
///
/// # Errors
/// If it is not packed by zstd, or gives more or fewer bytes.
pub(crate) fn unpack(path: &str, packed: &[u8], bytes: u64, most: u64) -> Result<Vec<u8>, Error> {
    if bytes > most {
        return Err(Error::refused(
            path,
            format!("says it has {bytes} bytes unpacked, at most {most} are taken"),
        ));
    }
    let broken = |error| Error::refused(path, format!("cannot be unpacked: {error}"));
    let mut decoder =
        zstd::stream::read::Decoder::with_buffer(packed).map_err(broken)?.single_frame();
    // Claimed by 22 and more bits of a frame's head, the window alone could take gigabytes.
    decoder.window_log_max(MOST_WINDOW_LOG).map_err(broken)?;
    let mut unpacked = Vec::new();
    // One more than it says, so that more than it says is seen.
    decoder.by_ref().take(bytes.saturating_add(1)).read_to_end(&mut unpacked).map_err(broken)?;
    if unpacked.len() as u64 != bytes {
        let found = if unpacked.len() as u64 > bytes {
            "more".to_owned()
        } else {
            unpacked.len().to_string()
        };
        return Err(Error::refused(
            path,
            format!("says it has {bytes} bytes unpacked, and has {found}"),
        ));
    }
    let rest = decoder.finish();
    if !rest.is_empty() {
        return Err(Error::refused(path, "has bytes behind its end"));
    }
    Ok(unpacked)
}

/// At most 32 MiB of window.
const MOST_WINDOW_LOG: u32 = 25;
