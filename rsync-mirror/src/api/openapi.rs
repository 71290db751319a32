//! The description of the API, made from the table of routes.

use axum::Json;
use serde_json::{Map, Value, json};

use super::routes::{self, Access, Operation};

pub(super) async fn document() -> Json<Value> {
    Json(describe())
}

pub(super) fn describe() -> Value {
    let mut paths = Map::new();
    for route in routes::all().iter().filter(|route| !route.about.is_empty()) {
        let operations =
            route.about.iter().map(|about| (about.method.to_owned(), operation(route.path, about)));
        paths.insert(route.path.to_owned(), Value::Object(operations.collect()));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "rsync-mirror",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Jobs of a mirror site. Times are RFC 3339, sizes bytes.",
        },
        "paths": paths,
        "components": { "schemas": schemas(), "securitySchemes": {
            "token": { "type": "http", "scheme": "bearer", "description": "The token of [site]" },
            "signature": { "type": "apiKey", "in": "header", "name": "X-Hub-Signature-256" },
        } },
    })
}

fn operation(path: &str, about: &Operation) -> Value {
    let content = match about.answer {
        "Text" => json!({ "text/plain": { "schema": { "type": "string" } } }),
        schema => {
            json!({ "application/json": { "schema": { "$ref": format!("#/components/schemas/{schema}") } } })
        }
    };
    let mut responses = json!({ "200": { "description": "Done", "content": content } });
    let error = json!({ "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } });
    let mut fails = |code: &str, why: &str| {
        responses[code] = json!({ "description": why, "content": error });
    };
    if path.contains("{job}") {
        fails("404", "There is no such job");
    }
    let security = match about.access {
        Access::Everybody => json!([]),
        Access::Token => {
            fails("401", "The token is missing or wrong");
            fails("403", "The site has no token");
            json!([{ "token": [] }])
        }
        Access::Signature => {
            fails("403", "The signature is missing or wrong");
            json!([{ "signature": [] }, { "token": [] }])
        }
    };
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = names
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    for (end, name, kind) in [("/runs", "limit", "integer"), ("/log", "run", "string")] {
        if path.ends_with(end) {
            parameters.push(json!({ "name": name, "in": "query", "schema": { "type": kind } }));
        }
    }
    let mut operation = json!({
        "summary": about.summary,
        "parameters": parameters,
        "responses": responses,
        "security": security,
    });
    if path.ends_with("/start") {
        let schema = json!({ "type": "object", "properties": {
            "force": { "type": "boolean", "description": "Past the limits, except those of groups" },
            "accept": { "type": "string", "description": "The run whose refusal is passed over" },
        } });
        operation["requestBody"] = json!({ "content": { "application/json": { "schema": schema } } });
    }
    operation
}

fn schemas() -> Value {
    let text = json!({ "type": "string" });
    let time = json!({ "type": ["string", "null"], "format": "date-time" });
    let count = json!({ "type": ["integer", "null"] });
    let status = ["none", "pre-syncing", "syncing", "success", "failed", "paused", "disabled"];
    json!({
        "Error": { "type": "object", "required": ["error"], "properties": { "error": text } },
        "Done": { "type": "object", "required": ["message"], "properties": { "message": text } },
        "Site": { "type": "object", "properties": {
            "name": text, "worker": text, "now": time, "running": count, "queued": count,
            "stopping": { "type": "boolean" }, "jobs": { "$ref": "#/components/schemas/Jobs" },
        } },
        "Jobs": { "type": "array", "items": { "$ref": "#/components/schemas/Job" } },
        "Job": { "type": "object", "properties": {
            "name": text,
            "status": { "enum": status },
            "condition": { "enum": ["well", "failing", "stale"] },
            "elsewhere": { "type": ["string", "null"] },
            "upstream": text,
            "upstreams": { "type": "array", "items": { "type": "object", "properties": {
                "url": text, "weight": count, "priority": count,
                "state": { "enum": ["up", "busy", "down", "unknown", "unchecked"] },
                "reason": { "type": ["string", "null"] }, "date": time,
            } } },
            "schedule": text,
            "last_started": time, "last_ended": time, "last_update": time,
            "next": time, "queued_since": time,
            "size": count, "size_text": { "type": ["string", "null"] },
            "exit": count, "class": { "type": ["string", "null"] },
            "generation": count, "message": text,
            "progress": { "type": ["object", "null"], "properties": {
                "started": time, "phase": text, "attempt": count, "file": text, "done": count,
                "total": count, "entries_done": count, "entries": count, "transfers": count,
                "percent": count,
            } },
            "description": { "type": ["string", "null"] },
            "help": { "type": ["string", "null"] },
            "url": { "type": ["string", "null"] },
            "is_secondary": { "type": "boolean" },
        } },
        "Runs": { "type": "array", "items": { "type": "object", "properties": {
            "id": text, "job": text, "attempt": count, "exit": count, "class": text,
            "started": time, "ended": time, "upstream": { "type": ["string", "null"] },
            "stats": { "type": "object" }, "failed": { "type": "array" }, "failed_count": count,
            "refusals": { "type": "array" }, "generation": count,
            "unchanged": { "type": "boolean" }, "message": text, "has_log": { "type": "boolean" },
        } } },
    })
}
