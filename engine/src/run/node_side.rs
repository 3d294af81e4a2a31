//! What a node does against the drift of its local training, and what it needs of the center for it.

use aggregate::{Correction, Rules, ServerStep};
use anyhow::ensure;
use optim::{OptimizerConfig, SgdConfig};

use crate::job::{LearningRate, TrainConfig};

/// How a node's gradient `g` at `w` is corrected in a round that started from `x`.
///
/// | side | gradient | paper |
/// |---|---|---|
/// | plain | `g` | |
/// | `FedProx` | `g + mu·(w − x)` | <https://arxiv.org/abs/1812.06127> |
/// | SCAFFOLD | `g + c − c_k` of the center's and the node's control variates | <https://arxiv.org/abs/1910.06378> |
/// | `FedDyn` | `g − h_k + alpha·(w − x)` with the node's memory `h_k` | <https://arxiv.org/abs/2111.04263> |
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NodeSide {
    /// Not at all.
    Plain,
    /// `FedProx`: a pull to the start.
    Prox {
        /// Strength of the pull.
        mu: f32,
    },
    /// SCAFFOLD.
    Scaffold,
    /// `FedDyn`.
    Dyn {
        /// Strength of the regularizer, that of the server step.
        alpha: f32,
    },
}

/// What a node side needs of the center.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FromCenter {
    /// The global model alone.
    Model,
    /// A global model that carries the center's control variate.
    ControlVariate,
    /// The server step `dyn`.
    DynStep,
}

impl NodeSide {
    /// What the job's sections ask for.
    ///
    /// # Errors
    /// If they ask for two things, or for one that does not go with how the node trains.
    pub(super) fn of(train: &TrainConfig, rules: &Rules) -> anyhow::Result<Self> {
        let side = match (rules.correction, rules.server) {
            (Correction::Scaffold, _) => Self::Scaffold,
            (Correction::None, ServerStep::Dyn { alpha, .. }) => Self::Dyn { alpha },
            _ if train.proximal > 0.0 => Self::Prox { mu: train.proximal },
            _ => Self::Plain,
        };
        if !side.remembers() {
            return Ok(side);
        }
        let what = side.spelling();
        ensure!(
            train.proximal <= 0.0,
            "{what} does not go with [train] proximal: each corrects the drift in its own way; leave one out"
        );
        ensure!(
            train.trainable.is_empty(),
            "{what} does not go with [train] trainable: what the node and the center remember is of whole models"
        );
        ensure!(
            train.private.is_none(),
            "{what} does not go with [train.private]: what the node remembers is not private"
        );
        if side == Self::Scaffold {
            ensure!(
                train.optimizer == OptimizerConfig::Sgd(SgdConfig::default()),
                "{what} needs [train] optimizer = {{ name = \"sgd\" }} without momentum and weight decay: the variate is made of the way the model went"
            );
            ensure!(
                train.lr != LearningRate::Auto,
                "{what} needs a number for [train] lr, not \"auto\": the variate is made of the way the model went"
            );
            ensure!(
                train.schedule.plateau().is_none(),
                "{what} does not go with [train] schedule reduce-on-plateau: the variate is made of the mean learning rate"
            );
        }
        Ok(side)
    }

    /// What it needs of the center.
    pub fn needs(self) -> FromCenter {
        match self {
            Self::Plain | Self::Prox { .. } => FromCenter::Model,
            Self::Scaffold => FromCenter::ControlVariate,
            Self::Dyn { .. } => FromCenter::DynStep,
        }
    }

    /// Whether the node remembers something from round to round.
    pub fn remembers(self) -> bool {
        self.needs() != FromCenter::Model
    }

    /// How the job asks for it.
    fn spelling(self) -> &'static str {
        match self {
            Self::Plain => "plain training",
            Self::Prox { .. } => "[train] proximal",
            Self::Scaffold => "[federation] correction = \"scaffold\"",
            Self::Dyn { .. } => "[federation] server step dyn",
        }
    }
}
