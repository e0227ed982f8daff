//! The file as a JSON schema (2020-12), from the table of keys: for editors, and for whoever
//! writes the file by program.

use serde_json::{Map, Value, json};

use super::{
    keys::{Form, Key, Kind, ROOT, SECTIONS, Section},
    value,
};

/// The schema. What it refuses, the gateway refuses; the gateway may refuse more.
pub fn schema() -> Value {
    let mut properties = properties(&ROOT);
    for section in SECTIONS {
        let table = object(section);
        let value = if section.repeated {
            json!({"type": "array", "description": plain(section.about), "items": table})
        } else {
            table
        };
        properties.insert(section.name.to_owned(), value);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Portcullis",
        "description": "config/portcullis.toml",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    })
}

fn object(section: &Section) -> Value {
    let mut object = json!({
        "type": "object",
        "description": plain(section.about),
        "additionalProperties": false,
        "properties": properties(section),
    });
    if section.repeated && section.name == "tenant" {
        put(
            &mut object,
            "anyOf",
            json!([{"required": ["hosts"]}, {"required": ["hosts_file"]}]),
        );
    }
    object
}

fn properties(section: &Section) -> Map<String, Value> {
    let mut out = Map::new();
    for key in section.keys {
        out.insert(key.name.to_owned(), property(key));
        let file = format!("{}_file", key.name);
        if !matches!(key.kind, Kind::Group(_)) && section.key(&file).is_none() {
            let about = format!("The file that holds `{}`.", key.name);
            out.insert(file, json!({"type": "string", "description": about}));
        }
    }
    for later in section.later {
        if let Some(only) = later.only {
            let only: Value = serde_json::from_str(only).unwrap_or_else(|_| only.into());
            out.insert(
                later.name.to_owned(),
                json!({"const": only, "description": "Not built yet."}),
            );
        }
    }
    out
}

fn property(key: &Key) -> Value {
    let mut it = match &key.kind {
        Kind::Flag => json!({"type": "boolean"}),
        Kind::Count { least, most } => {
            json!({"type": "integer", "minimum": least, "maximum": most})
        }
        Kind::Duration { least, most } => json!({
            "type": "string",
            "pattern": "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$",
            "minLength": 2,
            "$comment": format!("from {} to {}", millis(*least), millis(*most)),
        }),
        Kind::Size { least, most } => json!({"anyOf": [
            {"type": "integer", "minimum": least, "maximum": most},
            {"type": "string", "pattern": "^[0-9]+ *(B|[kK]B|KiB|[MG]i?B)?$"},
        ]}),
        Kind::Choice(words) => json!({"enum": words}),
        Kind::One(Form::Address) if key.name == "admin" => {
            json!({"anyOf": [{"const": "off"}, text(Form::Address)]})
        }
        Kind::One(form) => text(*form),
        Kind::List(form) => json!({"type": "array", "items": text(*form)}),
        Kind::Group(section) => object(section),
    };
    put(&mut it, "description", plain(key.about).into());
    if let Some(default) = key.default.and_then(in_json) {
        put(&mut it, "default", default);
    }
    it
}

fn text(form: Form) -> Value {
    match form.pattern() {
        Some(pattern) => json!({"type": "string", "pattern": pattern}),
        None => json!({"type": "string"}),
    }
}

fn millis(of: u64) -> String {
    value::show_duration(std::time::Duration::from_millis(of))
}

/// Defaults are written as TOML; those of ours that are no tables are JSON too.
fn in_json(default: &str) -> Option<Value> {
    serde_json::from_str(default).ok()
}

fn plain(about: &str) -> String {
    about.replace('`', "")
}

fn put(object: &mut Value, name: &str, value: Value) {
    if let Some(map) = object.as_object_mut() {
        map.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_in_the_schema_with_its_default() {
        let schema = schema();
        assert_eq!(
            schema["properties"]["session"]["properties"]["idle"]["default"],
            "30m"
        );
        for section in SECTIONS {
            let mut it = &schema["properties"][section.name];
            if section.repeated {
                it = &it["items"];
            }
            for key in section.keys {
                let property = &it["properties"][key.name];
                assert!(property["description"].is_string(), "{}", key.name);
                assert_eq!(property["default"].is_null(), key.default.is_none());
            }
        }
    }

    #[test]
    fn every_default_and_example_fits_its_pattern() {
        for key in SECTIONS.iter().flat_map(|it| it.keys) {
            let (Kind::One(form) | Kind::List(form)) = &key.kind else {
                continue;
            };
            let Some(pattern) = form.pattern() else {
                continue;
            };
            let pattern = regex::Regex::new(pattern).unwrap();
            let value: Value = serde_json::from_str(key.example).unwrap();
            let list = value.as_array().cloned().unwrap_or_else(|| vec![value]);
            for text in list {
                assert!(pattern.is_match(text.as_str().unwrap()), "{}", key.name);
            }
        }
    }
}
