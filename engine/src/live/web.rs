//! Where a run is seen over HTTP.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::token::Token;

/// Where a run is seen, and what others may do there.
#[derive(Debug, Clone)]
pub struct Web {
    /// Address and port; the system chooses one for port 0.
    pub at: SocketAddr,
    /// Without one, nobody may change anything.
    pub token: Option<Token>,
    /// What the model is called.
    pub name: String,
    /// The folder of models, to go back to one or to put one live.
    pub state: Option<PathBuf>,
}
