//! Metadata: ACLs, extended attributes, permissions and `--chmod` as pure facts (spec 04).

mod acl;
mod acl_wire;
mod chmod;
mod fake_super;
mod mode;
mod xattr;
mod xattr_names;
mod xattr_values;
mod xattr_wire;

pub use acl::{Acl, AclName, AclTable};
pub use acl_wire::{AclEncoder, AclError, AclKind, AclReader};
pub use chmod::{Chmod, ChmodError};
pub use fake_super::{FakeStat, acl_from_attribute, acl_to_attribute};
pub use mode::{Existing, default_permissions, executability, final_mode};
pub use xattr::{ReceivedXattr, ReceivedXattrs, SentXattr, SentXattrs, XattrValue};
pub use xattr_names::XattrNames;
pub use xattr_values::{
    XattrAnswer, XattrAnswerReader, XattrRequests, put_xattr_answer, put_xattr_end, put_xattr_requests,
};
pub use xattr_wire::{MAX_XATTR_VALUE, XattrEncoder, XattrError, XattrReader, XattrTable};
