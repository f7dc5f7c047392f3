//! Keyed hashes of a token and its accessor, computed once and kept with the token.

/// One pair of hashes for each device of a generation. No secret: these are what the log shows.
#[derive(Clone, Debug, Default)]
pub struct IdentityHashes {
    pub(super) generation: u64,
    pub(super) devices: Box<[DeviceHashes]>,
}

#[derive(Clone, Debug)]
pub(super) struct DeviceHashes {
    pub device: u64,
    pub token: [u8; 32],
    pub accessor: [u8; 32],
}

impl IdentityHashes {
    /// Compare with `Audit::generation` to know whether they are complete.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn of(&self, device: u64) -> Option<&DeviceHashes> {
        self.devices.iter().find(|d| d.device == device)
    }
}
