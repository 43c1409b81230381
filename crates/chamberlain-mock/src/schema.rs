//! Makes a value that fits a JSON schema: the same one every time.

use serde_json::{Map, Value, json};

/// How deep references and nesting are followed.
const DEPTH_MAX: usize = 16;

/// A value for `schema`; an empty object when there is none.
pub(crate) fn example(schema: Option<&Value>) -> Value {
    match schema {
        Some(schema) => make(schema, schema, 0),
        None => json!({}),
    }
}

fn make(schema: &Value, root: &Value, depth: usize) -> Value {
    if depth > DEPTH_MAX {
        return Value::Null;
    }
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        let target = target.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        return target.map_or(Value::Null, |target| make(target, root, depth + 1));
    }
    if let Some(fixed) = schema.get("const").or_else(|| schema.get("default")) {
        return fixed.clone();
    }
    let first = |key: &str| schema.get(key).and_then(Value::as_array).and_then(|list| list.first());
    if let Some(choice) = first("enum") {
        return choice.clone();
    }
    if let Some(option) = first("anyOf").or_else(|| first("oneOf")).or_else(|| first("allOf")) {
        return make(option, root, depth + 1);
    }
    match kind(schema) {
        "object" => object(schema, root, depth),
        "array" => {
            let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(1).clamp(1, 64);
            let item = schema.get("items").map_or(Value::Null, |item| make(item, root, depth + 1));
            Value::Array((0..least).map(|_| item.clone()).collect())
        }
        "integer" => {
            schema.get("minimum").filter(|least| least.is_i64()).cloned().unwrap_or(json!(1))
        }
        "number" => schema.get("minimum").cloned().unwrap_or(json!(1.5)),
        "boolean" => json!(true),
        "null" => Value::Null,
        _ => json!(string(schema)),
    }
}

fn kind(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::String(kind)) => kind,
        Some(Value::Array(kinds)) => kinds.first().and_then(Value::as_str).unwrap_or("string"),
        _ if schema.get("properties").is_some() => "object",
        _ => "string",
    }
}

fn object(schema: &Value, root: &Value, depth: usize) -> Value {
    let properties = schema.get("properties").and_then(Value::as_object);
    let required: Vec<&str> =
        crate::json::list(schema, "required").iter().filter_map(Value::as_str).collect();
    let fields = properties
        .into_iter()
        .flatten()
        // Optional parts of a recursive schema would never end.
        .filter(|(name, _)| depth < 3 || required.contains(&name.as_str()))
        .map(|(name, schema)| (name.clone(), make(schema, root, depth + 1)));
    Value::Object(fields.collect::<Map<_, _>>())
}

fn string(schema: &Value) -> String {
    match schema.get("format").and_then(Value::as_str) {
        Some("date") => "2026-11-23".to_owned(),
        Some("date-time") => "2026-11-23T09:00:00Z".to_owned(),
        Some("time") => "09:00:00Z".to_owned(),
        Some("email") => "someone@example.com".to_owned(),
        Some("uri") => "https://example.com/".to_owned(),
        Some("uuid") => "00000000-0000-4000-8000-000000000000".to_owned(),
        _ => {
            let least = schema.get("minLength").and_then(Value::as_u64).unwrap_or(0).min(4096);
            "example".chars().cycle().take((least as usize).max(7)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_an_example() {
        let schema = json!({
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"enum": ["c", "f"]},
                "days": {"type": "array", "items": {"$ref": "#/$defs/day"}},
                "flag": {"type": ["boolean", "null"]},
            },
            "$defs": {"day": {"type": "integer", "minimum": 3}},
        });
        let expected = json!({"city": "example", "unit": "c", "days": [3], "flag": true});
        assert_eq!(example(Some(&schema)), expected);
        assert_eq!(example(None), json!({}));
    }

    #[test]
    fn a_recursive_schema_ends() {
        let schema = json!({
            "type": "object",
            "properties": {"left": {"$ref": "#"}, "value": {"type": "integer"}},
            "required": ["value"],
        });
        assert!(example(Some(&schema)).to_string().len() < 200);
        let endless = json!({"$ref": "#"});
        assert_eq!(example(Some(&endless)), Value::Null);
    }
}
