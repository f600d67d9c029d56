//! The API's description for programs, made of the table of routes.

use serde_json::{Map, Value, json};

use super::routes::{Doc, Needs, ROUTES, Route};

/// The OpenAPI document.
pub(super) fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for (route, doc) in ROUTES.iter().filter_map(|route| Some((route, route.doc?))) {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(methods) = path.as_object_mut() {
            methods.insert(route.method.as_str().to_lowercase(), operation(route, &doc));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "mailroom",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What the command line tells with --json, and the changes that operators make.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": {
                "Refusal": {
                    "type": "object",
                    "required": ["error", "remedy"],
                    "properties": { "error": { "type": "string" }, "remedy": { "type": "string" } },
                },
            },
        },
    })
}

fn operation(route: &Route, doc: &Doc) -> Value {
    let mut operation = json!({
        "summary": doc.summary,
        "parameters": parameters(route.path, doc),
        "responses": {
            "200": { "description": "As asked", "content": { "application/json": {} } },
            "default": {
                "description": "Why not, and what to do",
                "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Refusal" } } },
            },
        },
    });
    if let (Needs::Role(role), Some(fields)) = (route.needs, operation.as_object_mut()) {
        fields.insert("x-role".to_owned(), json!(role.name()));
        fields.insert("security".to_owned(), security(route));
        if !route.method.is_safe() {
            fields.insert("requestBody".to_owned(), body(doc));
        }
    }
    operation
}

/// Reading may need no token, on a loopback address.
fn security(route: &Route) -> Value {
    let is_open = route.needs == Needs::Role(crate::config::Role::Viewer) && route.method.is_safe();
    if is_open { json!([{ "token": [] }, {}]) } else { json!([{ "token": [] }]) }
}

fn parameters(path: &str, doc: &Doc) -> Vec<Value> {
    let in_path =
        path.split(['{', '}']).skip(1).step_by(2).map(
            |name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }),
        );
    let in_query = doc.query.iter().map(|(name, description)| {
        let kind = if *name == "limit" { "integer" } else { "string" };
        json!({ "name": name, "in": "query", "description": description, "schema": { "type": kind } })
    });
    in_path.chain(in_query).collect()
}

fn body(doc: &Doc) -> Value {
    let properties = doc.body.iter().map(|(name, kind, description)| {
        let schema = match *kind {
            "array" => {
                let items = json!({ "type": "string", "format": "uuid" });
                json!({ "type": kind, "description": description, "items": items })
            }
            "any" => json!({ "description": description }),
            kind => json!({ "type": kind, "description": description }),
        };
        ((*name).to_owned(), schema)
    });
    let properties: Map<String, Value> = properties.collect();
    let schema = json!({ "type": "object", "additionalProperties": false, "properties": properties });
    json!({ "required": true, "content": { "application/json": { "schema": schema } } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_every_route_of_the_api_with_its_role_and_no_other() {
        let document = document();
        let mut told: Vec<(String, String, String)> = Vec::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let role = operation["x-role"].as_str().unwrap().to_owned();
                told.push((path.clone(), method.to_uppercase(), role));
            }
        }
        let of_api = ROUTES.iter().filter(|route| route.path.starts_with("/api/"));
        let mut there: Vec<(String, String, String)> = of_api
            .map(|route| {
                let Needs::Role(role) = route.needs else { panic!("{} needs no role", route.path) };
                (route.path.to_owned(), route.method.to_string(), role.name().to_owned())
            })
            .collect();
        told.sort();
        there.sort();
        assert_eq!(told, there);
        let id = &document["paths"]["/api/v1/dead-letters/{id}"]["get"]["parameters"][0];
        assert_eq!((id["name"].as_str(), id["in"].as_str()), (Some("id"), Some("path")));
        let replay = &document["paths"]["/api/v1/dead-letters/replay"]["post"]["requestBody"]["content"];
        let ids = &replay["application/json"]["schema"]["properties"]["ids"];
        assert_eq!(ids["items"]["format"], "uuid");
    }
}
