//! Which variant of an op computes given tensors on a device.

use anyhow::Result;
use clipseg_files::shown;

use super::manifest::{Manifest, PassBinding, Requires, Variant};
use super::scope::{Device, Engine, Scope};

/// The variant of the highest priority whose conditions hold, where possible one that nothing demotes; else
/// what each of them lacks.
pub fn choose<'a>(
    manifest: &'a Manifest,
    engine: &Engine,
    scope: &Scope,
    device: &Device,
) -> Result<&'a Variant, Vec<String>> {
    let selection = Selection { manifest, engine, scope, device };
    // Of the same priority in their order.
    let mut variants: Vec<_> = manifest.variants.iter().collect();
    variants.sort_by(|a, b| b.priority.total_cmp(&a.priority));
    let mut demoted = None;
    let mut lacks = Vec::new();
    for variant in variants {
        match selection.verdict(variant) {
            Ok(false) => return Ok(variant),
            Ok(true) => demoted = demoted.or(Some(variant)),
            Err(lack) => lacks.push(format!("{}: {lack}", shown(&variant.id))),
        }
    }
    demoted.ok_or(lacks)
}

struct Selection<'a> {
    manifest: &'a Manifest,
    engine: &'a Engine,
    scope: &'a Scope,
    device: &'a Device,
}

impl Selection<'_> {
    /// Whether a variant that can be taken is demoted; else why it cannot.
    fn verdict(&self, variant: &Variant) -> Result<bool, String> {
        for requires in [&self.manifest.requires, &variant.requires].into_iter().flatten() {
            self.meets(requires)?;
        }
        self.fits(variant)?;
        for condition in self.manifest.when.iter().chain(&variant.when) {
            match self.engine.holds(condition, self.scope) {
                Ok(true) => {}
                Ok(false) => return Err(format!("`{}` does not hold", shown(condition))),
                Err(error) => return Err(format!("{error:#}")),
            }
        }
        let demotes = |condition: &String| match self.engine.holds(condition, self.scope) {
            Ok(holds) => Ok(holds),
            Err(error) => Err(format!("{error:#}")),
        };
        let demotions = variant.demote_when.iter().map(demotes).collect::<Result<Vec<_>, _>>()?;
        Ok(demotions.contains(&true))
    }

    fn meets(&self, requires: &Requires) -> Result<(), String> {
        if let Some(feature) =
            requires.features.iter().find(|name| !self.device.features.contains(&name.as_str()))
        {
            return Err(format!("it needs the feature {}", shown(feature)));
        }
        for (name, least) in requires.limits.iter() {
            if self.device.limit(name).is_none_or(|limit| limit < *least) {
                return Err(format!("it needs {} of {least}", shown(name)));
            }
        }
        match (requires.subgroup_min_size, self.device.lanes) {
            (None, _) => Ok(()),
            (Some(least), Some([lanes, _])) if lanes >= least => Ok(()),
            (Some(least), _) => Err(format!("it needs subgroups of {least} lanes")),
        }
    }

    /// Whether the device binds as many buffers.
    fn fits(&self, variant: &Variant) -> Result<(), String> {
        for pass in &variant.passes {
            let is_uniform = |binding: &&PassBinding| match binding {
                PassBinding::Named(handle) => {
                    self.manifest.bindings.get(handle).is_some_and(|own| own.fields.is_some())
                }
                PassBinding::Entry(entry) => entry.fields.is_some(),
            };
            let uniforms = pass.bindings.iter().filter(is_uniform).count();
            for (count, limit) in [
                (pass.bindings.len() - uniforms, "maxStorageBuffersPerShaderStage"),
                (uniforms, "maxUniformBuffersPerShaderStage"),
            ] {
                if self.device.limit(limit).is_some_and(|limit| (count as f64) > limit) {
                    return Err(format!("it binds {count} buffers, more than {limit}"));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The variant chosen of these, each with a pass that binds two tensors, or what they lack.
    fn chosen(variants: &str) -> Result<String, String> {
        let pass = r#""passes": [{"shader": "s", "bindings": ["x", "y"], "dispatch": {"x": 1}}]"#;
        let text = format!(
            r#"{{"name": "Op", "inputs": {{}}, "outputs": {{}}, "variants": [{}]}}"#,
            variants.replace("PASS", pass)
        );
        let manifest: Manifest = serde_json::from_str(&text).unwrap();
        let device = Device {
            features: vec!["subgroups"],
            limits: vec![("maxStorageBuffersPerShaderStage", 8.0), ("maxBufferSize", 64.0)],
            lanes: Some([8, 16]),
            ..Device::default()
        };
        let engine = Engine::new(&device).unwrap();
        choose(&manifest, &engine, &Scope::new(&device), &device)
            .map(|variant| variant.id.clone())
            .map_err(|lacks| lacks.join("; "))
    }

    #[test]
    fn the_highest_priority_whose_conditions_hold_is_taken() {
        let variants = r#"{"id": "low", PASS}, {"id": "not", "priority": 9, "when": ["1 == 2"], PASS},
            {"id": "high", "priority": 5, "when": ["1 == 1"], PASS}, {"id": "as_high", "priority": 5, PASS}"#;
        assert_eq!(chosen(variants).unwrap(), "high");
    }

    #[test]
    fn a_demoted_one_is_taken_where_there_is_no_other() {
        let demoted = r#"{"id": "demoted", "priority": 9, "demoteWhen": ["true"], PASS}"#;
        assert_eq!(chosen(demoted).unwrap(), "demoted");
        assert_eq!(chosen(&format!(r#"{demoted}, {{"id": "low", PASS}}"#)).unwrap(), "low");
    }

    #[test]
    fn what_a_device_lacks_is_told() {
        for (variant, word) in [
            (r#"{"requires": {"features": ["shader-f16"]}, PASS}"#, "the feature shader-f16"),
            (r#"{"requires": {"limits": {"maxBufferSize": 65}}, PASS}"#, "maxBufferSize of 65"),
            (r#"{"requires": {"limits": {"maxImmediateSize": 1}}, PASS}"#, "maxImmediateSize of 1"),
            (r#"{"requires": {"subgroupMinSize": 16}, PASS}"#, "subgroups of 16 lanes"),
            (r#"{"id": "a", "when": ["b == 1"], PASS}"#, "a: b is not known"),
            (r#"{"id": "a", "when": ["1 > 2"], PASS}"#, "a: `1 > 2` does not hold"),
        ] {
            let lacks = chosen(variant).unwrap_err();
            assert!(lacks.contains(word), "{word:?} is not in {lacks}");
        }
        let met = r#"{"id": "met", "requires": {"features": ["subgroups"], "limits": {"maxBufferSize": 64},
            "subgroupMinSize": 8}, PASS}"#;
        assert_eq!(chosen(met).unwrap(), "met");
    }
}
