//! The contract between administrators, identity routers and the control plane: generated code and
//! its descriptors. Kept slim: nothing here decides anything.

/// `rollcall.admin.v1` and `rollcall.router.v1`, as reflection serves them.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// What administrators, grpcurl and the console backend call.
pub mod admin {
    #[allow(clippy::all)]
    pub mod v1 {
        tonic::include_proto!("rollcall.admin.v1");
    }
}

/// What identity routers call.
pub mod router {
    #[allow(clippy::all)]
    pub mod v1 {
        tonic::include_proto!("rollcall.router.v1");
    }
}

/// What replicas of the control plane ask one another.
pub mod replica {
    #[allow(clippy::all)]
    pub mod v1 {
        tonic::include_proto!("rollcall.replica.v1");
    }
}

pub mod code;
mod debug;
pub mod limits;
pub mod secrets;

pub use prost;
pub use prost_types::FieldMask;

/// Largest message either side sends or accepts, in bytes.
pub const MAX_MESSAGE: usize = 4 << 20;
