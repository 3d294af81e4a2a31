//! What can be wrong with the bytes of a weight file.

/// The largest header the format allows, in bytes.
pub(crate) const MAX_HEADER_LEN: u64 = 100_000_000;

/// What is wrong with the bytes of a safetensors file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatProblem {
    /// It has no bytes.
    #[error("the file is empty")]
    Empty,
    /// It is not a regular file.
    #[error("it is a folder or a device, not a file")]
    NotAFile,
    /// It is too short to hold the length of a header.
    #[error("it has {file_len} bytes, fewer than the 8 that hold the header's length")]
    TooShort {
        /// Bytes in the file.
        file_len: u64,
    },
    /// Its header would be larger than any header may be.
    #[error(
        "it claims a header of {header_len} bytes, the format allows {}; it may be another \
         kind of file",
        MAX_HEADER_LEN
    )]
    HeaderTooLarge {
        /// Bytes the header claims to have.
        header_len: u64,
    },
    /// Its header would end after the file.
    #[error(
        "it claims a header of {header_len} bytes and has {file_len} bytes in all; it was cut \
         short, or is another kind of file"
    )]
    HeaderTruncated {
        /// Bytes the header claims to have.
        header_len: u64,
        /// Bytes in the file.
        file_len: u64,
    },
    /// Its header does not begin like one.
    #[error("its header does not begin with '{{'; it may be another kind of file")]
    NotSafetensors,
    /// Its header is not the JSON the format asks for.
    #[error("its header cannot be parsed: {message}")]
    Header {
        /// What the JSON parser said.
        message: String,
    },
    /// Two tensors have the same name.
    #[error("two tensors are called {tensor:?}")]
    DuplicateTensor {
        /// The name.
        tensor: String,
    },
    /// A dtype that the format does not know.
    #[error("tensor {tensor:?} has the unknown dtype {dtype:?}")]
    UnknownDtype {
        /// The tensor.
        tensor: String,
        /// The dtype as spelled in the file.
        dtype: String,
    },
    /// The size of a tensor is not a number this machine can hold.
    #[error("the shape of tensor {tensor:?} overflows")]
    SizeOverflow {
        /// The tensor.
        tensor: String,
    },
    /// A tensor of less-than-a-byte elements does not end at a byte.
    #[error("tensor {tensor:?} does not fill whole bytes")]
    PartialByte {
        /// The tensor.
        tensor: String,
    },
    /// A tensor ends before it starts.
    #[error("tensor {tensor:?} starts at byte {start} and ends at byte {end}")]
    OffsetsReversed {
        /// The tensor.
        tensor: String,
        /// First byte, counted from the end of the header.
        start: u64,
        /// Byte after the last.
        end: u64,
    },
    /// The offsets of a tensor do not agree with its dtype and shape.
    #[error("tensor {tensor:?} has {found} bytes, its dtype and shape need {expected}")]
    Length {
        /// The tensor.
        tensor: String,
        /// Bytes by dtype and shape.
        expected: u64,
        /// Bytes by offsets.
        found: u64,
    },
    /// Two tensors share bytes.
    #[error("tensor {tensor:?} starts at byte {start}, inside the tensor before it")]
    Overlap {
        /// The later tensor.
        tensor: String,
        /// Its first byte, counted from the end of the header.
        start: u64,
    },
    /// Some bytes belong to no tensor.
    #[error("the data bytes {start} to {end} belong to no tensor")]
    Hole {
        /// First byte, counted from the end of the header.
        start: u64,
        /// Byte after the last.
        end: u64,
    },
    /// A tensor ends after the file.
    #[error(
        "tensor {tensor:?} ends at data byte {end} and the file holds {data_len}; it was cut short"
    )]
    Truncated {
        /// The tensor.
        tensor: String,
        /// Byte after its last, counted from the end of the header.
        end: u64,
        /// Bytes after the header.
        data_len: u64,
    },
}
