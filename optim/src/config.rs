//! The choice of an optimizer by name: the one list of all that there are.

use std::str::FromStr;

use crate::rule::Rule;
use crate::{
    AdagradConfig, AdamConfig, AdamWConfig, AmsGradConfig, Error, LambConfig, LionConfig,
    NAdamConfig, Optimizer, ParamGroups, RAdamConfig, RmsPropConfig, ScheduleFreeAdamWConfig,
    SgdConfig, YogiConfig,
};

/// Makes the enum and all that names each of its variants.
macro_rules! choice {
    ($(#[$about:meta])* pub enum $choice:ident {
        $($(#[$of_variant:meta])* $variant:ident($config:ident),)+
    }) => {
        $(#[$about])*
        pub enum $choice {
            $($(#[$of_variant])* $variant($config),)+
        }

        impl $choice {
            /// All names, as spelled in configurations and on command lines.
            pub const NAMES: &'static [&'static str] = &[$($config::NAME),+];

            /// The name of the chosen optimizer.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $config::NAME,)+
                }
            }

            /// Checks the options.
            ///
            /// # Errors
            /// If one is not finite or out of range.
            pub fn validate(&self) -> Result<(), Error> {
                match self {
                    $(Self::$variant(config) => config.check(),)+
                }
            }

            /// An optimizer for `n_params` parameters that has not taken a step.
            ///
            /// # Errors
            /// If an option is out of range.
            pub fn build(&self, n_params: usize) -> Result<Box<dyn Optimizer>, Error> {
                self.build_for(&ParamGroups::whole(n_params))
            }

            /// The same for parameters in groups.
            ///
            /// # Errors
            /// If an option is out of range.
            pub fn build_for(&self, groups: &ParamGroups) -> Result<Box<dyn Optimizer>, Error> {
                Ok(match self {
                    $(Self::$variant(config) => Box::new(config.build_for(groups)?),)+
                })
            }
        }

        impl FromStr for $choice {
            type Err = Error;

            /// The optimizer of that name with its published defaults.
            fn from_str(name: &str) -> Result<Self, Error> {
                $(if name == $config::NAME {
                    return Ok(Self::$variant($config::default()));
                })+
                Err(Error::UnknownOptimizer { found: name.to_owned(), known: Self::NAMES })
            }
        }
    };
}

choice! {
    /// Which optimizer, with its options: the form for configuration files.
    ///
    /// With the feature `serde` tagged by `name`; options that are left out take their published
    /// defaults, unknown ones are errors.
    ///
    /// ```
    /// use optim::{AdamWConfig, OptimizerConfig};
    ///
    /// let config = OptimizerConfig::AdamW(AdamWConfig { weight_decay: 0.1, ..Default::default() });
    /// let mut optimizer = config.build(1)?;
    /// optimizer.step(&mut [1.0], &[0.5], 1e-3);
    /// assert_eq!(optimizer.name(), "adamw");
    ///
    /// assert_eq!("sgd".parse::<OptimizerConfig>()?.name(), "sgd");
    ///
    /// # #[cfg(feature = "serde")] {
    /// let json = r#"{ "name": "adamw", "weight_decay": 0.1 }"#;
    /// assert_eq!(serde_json::from_str::<OptimizerConfig>(json)?, config);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[derive(Debug, Clone, Copy, PartialEq)]
    #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
    #[cfg_attr(feature = "serde", serde(tag = "name", rename_all = "lowercase"))]
    #[non_exhaustive]
    pub enum OptimizerConfig {
        /// [`Sgd`](crate::Sgd)
        Sgd(SgdConfig),
        /// [`Adam`](crate::Adam)
        Adam(AdamConfig),
        /// [`AmsGrad`](crate::AmsGrad)
        AmsGrad(AmsGradConfig),
        /// [`AdamW`](crate::AdamW)
        AdamW(AdamWConfig),
        /// [`NAdam`](crate::NAdam)
        NAdam(NAdamConfig),
        /// [`RAdam`](crate::RAdam)
        RAdam(RAdamConfig),
        /// [`Adagrad`](crate::Adagrad)
        Adagrad(AdagradConfig),
        /// [`RmsProp`](crate::RmsProp)
        RmsProp(RmsPropConfig),
        /// [`Yogi`](crate::Yogi)
        Yogi(YogiConfig),
        /// [`Lion`](crate::Lion)
        Lion(LionConfig),
        /// [`Lamb`](crate::Lamb)
        Lamb(LambConfig),
        /// [`ScheduleFreeAdamW`](crate::ScheduleFreeAdamW)
        #[cfg_attr(feature = "serde", serde(rename = "schedule-free-adamw"))]
        ScheduleFreeAdamW(ScheduleFreeAdamWConfig),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_builds() {
        for &name in OptimizerConfig::NAMES {
            let config: OptimizerConfig = name.parse().unwrap();
            assert_eq!(config.name(), name);
            assert_eq!(config.build(3).unwrap().name(), name);
        }
    }

    #[test]
    fn unknown_names_are_answered_with_the_known_ones() {
        assert!("AdamW".parse::<OptimizerConfig>().is_err());
        assert_eq!(
            "adamm".parse::<OptimizerConfig>().unwrap_err().to_string(),
            "unknown optimizer \"adamm\", expected one of sgd, adam, amsgrad, adamw, nadam, radam, \
             adagrad, rmsprop, yogi, lion, lamb, schedule-free-adamw"
        );
    }

    #[test]
    fn options_out_of_range_do_not_build() {
        let config = OptimizerConfig::Adam(AdamConfig { beta2: 1.0, ..AdamConfig::default() });
        let message = config.build(1).err().map(|e| e.to_string());
        assert_eq!(message.as_deref(), Some("adam: beta2 is 1, expected at least 0 and below 1"));
    }
}
