//! Attributes of files on this side: who may set what, and setting it (spec 04 §5 to §8).

mod apply;
mod ids;
mod owners;
mod privilege;

pub(crate) use apply::{Attributes, Step, Times};
pub(crate) use ids::LocalIds;
pub use owners::SystemOwners;
pub(crate) use privilege::Privilege;
pub use privilege::mode_change;
