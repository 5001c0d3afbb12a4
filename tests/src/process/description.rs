//! The routes that a node says it has: its `/openapi.json`, as far as tests go by it.
//!
//! A suite that must not forget a route or a field takes them from here, so that one which is added
//! later fails it until somebody has thought of it.

use std::collections::BTreeSet;

use serde_json::Value;

/// One method of one path.
#[derive(Clone, Debug)]
pub struct Route {
    /// `GET`.
    pub method: String,
    /// `/v1/locks/{name}`.
    pub path: String,
    /// What its JSON body may have; empty if it takes none.
    pub fields: Vec<Field>,
    /// Names of the parameters in its query.
    pub query: BTreeSet<String>,
    /// Names of headers that it reads.
    pub headers: BTreeSet<String>,
}

/// A field of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// It may not be left out.
    pub needed: bool,
    /// If it is a list of objects: their fields.
    pub within: Vec<Field>,
}

/// All of them.
///
/// # Panics
/// If this is no description.
#[must_use]
pub fn routes(description: &Value) -> Vec<Route> {
    let paths = description["paths"].as_object().expect("paths");
    let routes = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().expect("methods");
        methods.iter().map(move |(method, route)| Route {
            method: method.to_uppercase(),
            path: path.clone(),
            fields: fields(description, &route["requestBody"]["content"]["application/json"]),
            query: parameters(route, "query"),
            headers: parameters(route, "header"),
        })
    });
    routes.collect()
}

fn parameters(route: &Value, place: &str) -> BTreeSet<String> {
    let all = route["parameters"].as_array().into_iter().flatten();
    let there = all.filter(|parameter| parameter["in"] == place);
    there.map(|parameter| text(&parameter["name"])).collect()
}

fn fields(description: &Value, content: &Value) -> Vec<Field> {
    let schema = resolve(description, &content["schema"]);
    let needed = |name: &str| {
        schema["required"].as_array().is_some_and(|all| all.iter().any(|field| field == name))
    };
    let properties = schema["properties"].as_object().into_iter().flatten();
    let field = |(name, of): (&String, &Value)| Field {
        name: name.clone(),
        needed: needed(name),
        within: fields(description, &serde_json::json!({ "schema": of["items"] })),
    };
    properties.map(field).collect()
}

fn resolve<'a>(description: &'a Value, schema: &'a Value) -> &'a Value {
    let reference = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    reference.map_or(schema, |pointer| description.pointer(pointer).expect("what it refers to"))
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn routes_have_the_fields_of_their_bodies_and_of_objects_within() {
        let description = json!({
            "paths": { "/a": { "post": {
                "parameters": [{ "name": "K", "in": "header" }, { "name": "q", "in": "query" }],
                "requestBody": { "content": { "application/json": {
                    "schema": { "$ref": "#/components/schemas/A" },
                } } },
            } } },
            "components": { "schemas": {
                "A": { "required": ["all"], "properties": {
                    "all": { "items": { "$ref": "#/components/schemas/B" } }, "ids": { "items": {} },
                } },
                "B": { "properties": { "x": {} } },
            } },
        });
        let route = &routes(&description)[0];
        assert_eq!((route.method.as_str(), route.path.as_str()), ("POST", "/a"));
        assert!(route.query.contains("q") && route.headers.contains("K"));
        let field = |name: &str, needed, within| Field { name: name.to_owned(), needed, within };
        let all = field("all", true, vec![field("x", false, vec![])]);
        assert_eq!(route.fields, [all, field("ids", false, vec![])]);
    }
}
