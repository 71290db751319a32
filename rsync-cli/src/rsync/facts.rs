//! What `rsync --version` says about this build.

use rsync_proto::options::VersionFacts;
use rsync_proto::session::NEWEST_PROTOCOL;

/// Facts of this build. The version is that of the C rsync whose behaviour it offers, since scripts
/// compare it.
pub(crate) const FACTS: VersionFacts<'_> = VersionFacts {
    version: "3.5.0",
    protocol: NEWEST_PROTOCOL,
    copyright: "(C) the authors of the rsync crates, a Rust implementation",
    url: env!("CARGO_PKG_REPOSITORY"),
    license: env!("CARGO_PKG_LICENSE"),
    capabilities: &[
        ("64-bit files", true),
        ("64-bit inums", true),
        ("64-bit timestamps", true),
        ("64-bit long ints", true),
        ("socketpairs", true),
        ("symlinks", true),
        ("symtimes", true),
        ("hardlinks", true),
        ("hardlink-specials", true),
        ("hardlink-symlinks", true),
        ("IPv6", true),
        ("atimes", true),
        ("batchfiles", true),
        ("inplace", true),
        ("append", true),
        ("ACLs", true),
        ("ACL-at", true),
        ("xattrs", true),
        ("optional secluded-args", true),
        ("iconv", true),
        ("prealloc", true),
        ("stop-at", true),
        ("crtimes", false),
    ],
    optimizations: &[("SIMD-roll", true), ("asm-roll", false), ("openssl-crypto", false), ("asm-MD5", false)],
    checksums: &["xxh128", "xxh3", "xxh64", "md5", "md4", "sha1", "none"],
    compressions: &["zstd", "lz4", "zlibx", "zlib", "none"],
    digests: &["sha512", "sha256", "sha1", "md5", "md4"],
};
