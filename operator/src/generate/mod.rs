//! Files that the code itself can write: the definition, the installation, samples, and the parts of
//! the chart that must not differ from them. Kept in the repository so that they can be read and
//! reviewed; a test says when one is not what the code gives.

mod installation;
mod rights;
mod samples;

use serde::Serialize;
use serde_json::Value;

use crate::crd;

/// Stands above every generated file.
const HEADER: &str = "# Generated from operator/src by the test `generated_files_are_what_the_code_gives` (UPDATE_GOLDEN=1).\n# Do not edit.\n";

/// Why a file cannot be generated, which would be a fault of a type.
pub type Error = serde_saphyr::ser::Error;

/// The definition of `DSyncCluster`.
///
/// # Errors
/// If it has no YAML form.
pub fn definition() -> Result<String, Error> {
    document(&crd::definition())
}

/// Everything that an installation needs, the definition first.
///
/// # Errors
/// If one of it has no YAML form.
pub fn install() -> Result<String, Error> {
    let mut all = yaml(&crd::definition())?;
    for object in installation::objects() {
        all.push_str("---\n");
        all.push_str(&yaml(&object)?);
    }
    Ok(format!("{HEADER}{all}"))
}

/// All generated files, by their path from the root of the repository.
///
/// # Errors
/// If one has no YAML form.
pub fn files() -> Result<Vec<(&'static str, String)>, Error> {
    let mut files = vec![
        ("manifests/crd.yaml", definition()?),
        ("charts/dsync/crds/dsyncclusters.yaml", definition()?),
        ("manifests/install.yaml", install()?),
        // A kustomization takes files only from its own folder.
        ("manifests/kustomize/operator/install.yaml", install()?),
        ("manifests/kustomize/cluster/cluster.yaml", document(&samples::minimal())?),
        ("charts/dsync/templates/_rules.tpl", rights::chart_rules()?),
    ];
    for (path, sample) in samples::all() {
        files.push((path, document(&sample)?));
    }
    Ok(files)
}

fn document(value: &impl Serialize) -> Result<String, Error> {
    Ok(format!("{HEADER}{}", yaml(value)?))
}

fn yaml(value: &impl Serialize) -> Result<String, Error> {
    // Through JSON: optional fields that are not set are left out, and keys have one order.
    let value: Value = serde_json::to_value(value).unwrap_or_default();
    Ok(format!("{}\n", serde_saphyr::to_string(&value)?.trim_end()))
}

#[cfg(test)]
#[path = "generate_test.rs"]
mod tests;
