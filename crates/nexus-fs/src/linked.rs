//! The backends that this build promises, and the features that bring the others. The only place
//! that names them.

use nexus_core::{Descriptor, Registry, Result};

/// Every descriptor that the enabled features promise. Naming it here also makes the linker keep
/// the crate.
const PROMISED: &[&Descriptor] = &[
    #[cfg(feature = "backend-local")]
    &nexus_backend_local::DESCRIPTOR,
    #[cfg(feature = "backend-mem")]
    &nexus_backend_mem::DESCRIPTOR,
    #[cfg(feature = "backend-s3")]
    &nexus_backend_s3::DESCRIPTOR,
];

/// Every scheme of the project, and the feature that brings it.
const FEATURES: &[(&str, &str)] =
    &[("local", "backend-local"), ("mem", "backend-mem"), ("s3", "backend-s3")];

/// The backends of this program: those that the enabled features promise, and those that other
/// linked crates registered.
///
/// # Errors
/// `Internal` when a scheme is claimed twice or a promised backend was not linked in.
pub fn registry() -> Result<Registry> {
    let registry = Registry::discover(PROMISED, FEATURES)?;
    #[cfg(feature = "layout-cas")]
    let registry = registry.with_layouts(std::sync::Arc::new(nexus_cas::CasLayouts));
    Ok(registry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_promised_is_found_and_has_a_feature() {
        let registry = registry().unwrap();
        for promise in PROMISED {
            assert_eq!(registry.find(promise.scheme).unwrap().scheme, promise.scheme);
            assert!(FEATURES.iter().any(|(scheme, _)| *scheme == promise.scheme));
        }
        assert_eq!(registry.descriptors().len(), PROMISED.len());
    }

    #[test]
    fn a_scheme_of_a_feature_that_is_off_names_the_feature() {
        let registry = registry().unwrap();
        for (scheme, feature) in FEATURES {
            if let Err(error) = registry.find(scheme) {
                assert!(error.hint().unwrap().contains(feature), "{error:?}");
            }
        }
    }
}
