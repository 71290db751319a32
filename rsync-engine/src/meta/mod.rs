//! Attributes of files on this side: who may set what, and setting it (spec 04 §5 to §8).

mod acl;
mod apply;
pub(crate) mod fake_super;
mod ids;
mod owners;
mod privilege;
mod received;
mod xattr;

pub(crate) use crate::generate::judge::Wanted;
pub(crate) use acl::{ACCESS as ACCESS_ACL, AclStore, DEFAULT as DEFAULT_ACL, WantedAcls, creation_limit};
pub(crate) use apply::{Attributes, Change, Step, Times};
pub(crate) use ids::LocalIds;
pub use ids::{OwnerIds, SystemIds};
pub use owners::SystemOwners;
pub(crate) use privilege::Privilege;
pub use privilege::mode_change;
pub(crate) use received::ReceivedAttributes;
pub(crate) use xattr::{XattrProblem, XattrRules, apply as apply_xattrs};
