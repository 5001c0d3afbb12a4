//! An API server played in memory: one namespace, objects as JSON. It does what the operator relies
//! on: creates conflict, versions and UIDs guard, finalizers keep, owners take their children along. A
//! server-side apply replaces what the applier owns, since nobody else owns anything here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use serde_json::{Map, Value, json};

/// Where everything is.
pub const NAMESPACE: &str = "default";

/// Plural and name.
pub type Key = (String, String);

/// What is stored, and what was done.
#[derive(Debug, Default)]
pub struct Store {
    pub objects: BTreeMap<Key, Value>,
    /// Every write, as `METHOD plural/name`.
    pub writes: Vec<String>,
    counter: u64,
    /// After so many more writes the caller hears nothing any more. `true`: the last one has its effect.
    pub killed_at: Option<(usize, bool)>,
}

/// The server. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct ApiServer(pub Arc<Mutex<Store>>);

impl ApiServer {
    pub fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let (parts, body) = request.into_parts();
                let bytes = body.collect_bytes().await.unwrap();
                let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
                let kind = parts.headers.get("content-type").and_then(|value| value.to_str().ok());
                let answer = server.0.lock().unwrap().serve(
                    &parts.method,
                    &parts.uri.to_string(),
                    kind,
                    &body,
                );
                answer.ok_or_else(|| std::io::Error::other("the operator was killed"))
            }
        });
        Client::new(service, NAMESPACE)
    }

    pub fn get(&self, plural: &str, name: &str) -> Option<Value> {
        self.0.lock().unwrap().objects.get(&(plural.to_owned(), name.to_owned())).cloned()
    }

    pub fn change(&self, plural: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let mut store = self.0.lock().unwrap();
        let key = (plural.to_owned(), name.to_owned());
        let mut object = store.objects[&key].clone();
        change(&mut object);
        store.put(key, object);
    }

    pub fn delete(&self, plural: &str, name: &str) {
        self.0.lock().unwrap().delete(&(plural.to_owned(), name.to_owned()));
    }

    pub fn create(&self, plural: &str, object: Value) {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        self.0.lock().unwrap().insert((plural.to_owned(), name), object);
    }

    pub fn take_writes(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().writes)
    }
}

#[allow(clippy::needless_pass_by_value)] // keys are made for one call
impl Store {
    fn serve(
        &mut self,
        method: &Method,
        uri: &str,
        content: Option<&str>,
        body: &Value,
    ) -> Option<Response<Body>> {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let after = path.split_once("/namespaces/").map_or("", |(_, after)| after);
        let mut words = after.split('/').skip(1);
        let plural = words.next().unwrap_or_default().to_owned();
        let name = words.next().map(str::to_owned);
        let sub = words.next();
        if *method == Method::GET {
            return Some(match name {
                Some(name) => answer(self.objects.get(&(plural, name)).cloned()),
                None => answer(Some(self.list(&plural, query))),
            });
        }
        let named = name.clone().or_else(|| body["metadata"]["name"].as_str().map(str::to_owned));
        let key = (plural.clone(), named.unwrap_or_default());
        let effect = self.write_counts(&plural)?;
        self.writes.push(format!("{method} {plural}/{}", key.1));
        let answer = match (method, sub) {
            _ if plural == "events" => answer(Some(body.clone())),
            (&Method::POST, Some("eviction")) => self.remove(&key, &body["deleteOptions"]),
            (&Method::POST, _) => self.create(key, body),
            (&Method::PATCH, sub) => self.patch(key, sub, content.unwrap_or_default(), body),
            (&Method::DELETE, _) => self.remove(&key, body),
            _ => failure(StatusCode::METHOD_NOT_ALLOWED),
        };
        effect.then_some(answer)
    }

    /// `None`: the write never arrives. `Some(false)`: it does, and its answer is never heard.
    fn write_counts(&mut self, plural: &str) -> Option<bool> {
        if plural == "events" {
            return self.killed_at.is_none_or(|(left, _)| left > 0).then_some(true);
        }
        match &mut self.killed_at {
            None => Some(true),
            Some((0, _)) => None,
            Some((left, effect)) => {
                *left -= 1;
                match (*left, *effect) {
                    (0, false) => None,
                    (0, true) => Some(false),
                    _ => Some(true),
                }
            }
        }
    }

    fn list(&self, plural: &str, query: &str) -> Value {
        let selector = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("labelSelector="))
            .unwrap_or_default()
            .replace("%3D", "=")
            .replace("%2C", ",")
            .replace("%2F", "/");
        let matches = |object: &Value| {
            selector.split(',').filter(|one| !one.is_empty()).all(|one| {
                let (key, value) = one.split_once('=').unwrap();
                object["metadata"]["labels"][key] == value
            })
        };
        let items = self
            .objects
            .iter()
            .filter(|((other, _), object)| other == plural && matches(object))
            .map(|(_, object)| without_type(object))
            .collect::<Vec<_>>();
        json!({ "apiVersion": "v1", "kind": "List", "metadata": {}, "items": items })
    }

    fn create(&mut self, key: Key, body: &Value) -> Response<Body> {
        if self.objects.contains_key(&key) {
            return failure(StatusCode::CONFLICT);
        }
        self.insert(key.clone(), body.clone());
        answer(self.objects.get(&key).cloned())
    }

    pub fn insert(&mut self, key: Key, mut object: Value) {
        self.counter += 1;
        object["metadata"]["uid"] = json!(format!("uid-{}", self.counter));
        object["metadata"]["generation"] = json!(1);
        object["metadata"]["namespace"] = json!(NAMESPACE);
        self.put(key, object);
    }

    /// Stores, raising the version, and the generation if the spec changed.
    pub fn put(&mut self, key: Key, mut object: Value) {
        self.counter += 1;
        if let Some(old) = self.objects.get(&key)
            && old["spec"] != object["spec"]
        {
            let generation = old["metadata"]["generation"].as_u64().unwrap_or(1);
            object["metadata"]["generation"] = json!(generation + 1);
        }
        object["metadata"]["resourceVersion"] = json!(self.counter.to_string());
        let kept = object["metadata"]["finalizers"].as_array().is_some_and(|all| !all.is_empty());
        if object["metadata"]["deletionTimestamp"].is_string() && !kept {
            self.objects.insert(key.clone(), object);
            self.gone(&key);
        } else {
            self.objects.insert(key, object);
        }
    }

    fn patch(
        &mut self,
        key: Key,
        sub: Option<&str>,
        content: &str,
        body: &Value,
    ) -> Response<Body> {
        let live = self.objects.get(&key).cloned();
        if content.contains("apply") {
            let Some(mut object) = live else {
                if sub.is_some() {
                    return failure(StatusCode::NOT_FOUND);
                }
                self.insert(key.clone(), body.clone());
                return answer(self.objects.get(&key).cloned());
            };
            if sub == Some("status") {
                object["status"] = body["status"].clone();
            } else if others_port(&object, body) {
                return failure(StatusCode::UNPROCESSABLE_ENTITY);
            } else {
                for (field, value) in body.as_object().into_iter().flatten() {
                    match field.as_str() {
                        "metadata" => merge(&mut object["metadata"], value),
                        _ => object[field] = value.clone(),
                    }
                }
            }
            self.put(key.clone(), object);
            return answer(self.objects.get(&key).cloned());
        }
        let Some(mut object) = live else { return failure(StatusCode::NOT_FOUND) };
        if content.contains("json-patch") {
            for step in body.as_array().into_iter().flatten() {
                let path = step["path"].as_str().unwrap();
                if step["op"] == "test" {
                    if object.pointer(path) != Some(&step["value"]) {
                        return failure(StatusCode::CONFLICT);
                    }
                    continue;
                }
                match step["op"].as_str() {
                    Some("replace") => {
                        *object.pointer_mut(path).unwrap() = step["value"].clone();
                    }
                    _ => remove_at(&mut object, path),
                }
            }
        } else {
            let metadata = &body["metadata"];
            for guard in ["uid", "resourceVersion"] {
                if !metadata[guard].is_null() && metadata[guard] != object["metadata"][guard] {
                    return failure(StatusCode::CONFLICT);
                }
            }
            merge(&mut object, body);
        }
        self.put(key.clone(), object.clone());
        answer(Some(self.objects.get(&key).cloned().unwrap_or(object)))
    }

    fn remove(&mut self, key: &Key, options: &Value) -> Response<Body> {
        let Some(object) = self.objects.get(key) else { return failure(StatusCode::NOT_FOUND) };
        let uid = &options["preconditions"]["uid"];
        if !uid.is_null() && *uid != object["metadata"]["uid"] {
            return failure(StatusCode::CONFLICT);
        }
        self.delete(key);
        answer(Some(
            json!({ "apiVersion": "v1", "kind": "Status", "status": "Success", "metadata": {} }),
        ))
    }

    pub fn delete(&mut self, key: &Key) {
        let Some(mut object) = self.objects.get(key).cloned() else { return };
        object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        self.put(key.clone(), object);
    }

    /// An object is gone, and so is what it owned.
    fn gone(&mut self, key: &Key) {
        let Some(object) = self.objects.remove(key) else { return };
        let uid = object["metadata"]["uid"].clone();
        let owned = self
            .objects
            .iter()
            .filter(|(_, other)| other["metadata"]["ownerReferences"][0]["uid"] == uid)
            .map(|(key, _)| key.clone())
            .collect::<Vec<_>>();
        for key in owned {
            self.delete(&key);
        }
    }
}

/// RFC 7386.
fn merge(base: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *base = patch.clone();
        return;
    };
    if !base.is_object() {
        *base = Value::Object(Map::new());
    }
    for (key, value) in patch {
        if value.is_null() {
            base.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut base[key], value);
        }
    }
}

/// The ports of a service are told apart by number and protocol. One whose number somebody changed is
/// theirs; ours would come beside it, with the same name.
fn others_port(live: &Value, wanted: &Value) -> bool {
    let ports = |object: &Value| object["spec"]["ports"].as_array().cloned().unwrap_or_default();
    let ours = ports(wanted);
    ports(live).iter().any(|theirs| {
        ours.iter().all(|one| one["port"] != theirs["port"])
            && ours.iter().any(|one| one["name"] == theirs["name"])
    })
}

/// The items of a list do not say what they are: the list does.
fn without_type(object: &Value) -> Value {
    let mut object = object.clone();
    for field in ["apiVersion", "kind"] {
        object.as_object_mut().unwrap().remove(field);
    }
    object
}

fn remove_at(object: &mut Value, path: &str) {
    let (parent, last) = path.rsplit_once('/').unwrap();
    let last = last.replace("~1", "/").replace("~0", "~");
    match object.pointer_mut(parent) {
        Some(Value::Object(map)) => drop(map.remove(&last)),
        Some(Value::Array(list)) => drop(list.remove(last.parse().unwrap())),
        _ => panic!("nothing at {path}"),
    }
}

fn answer(object: Option<Value>) -> Response<Body> {
    match object {
        Some(object) => Response::new(Body::from(serde_json::to_vec(&object).unwrap())),
        None => failure(StatusCode::NOT_FOUND),
    }
}

fn failure(status: StatusCode) -> Response<Body> {
    let reason = match status {
        StatusCode::NOT_FOUND => "NotFound",
        StatusCode::CONFLICT => "AlreadyExists",
        StatusCode::UNPROCESSABLE_ENTITY => "Invalid",
        _ => "Unknown",
    };
    let body = json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "reason": reason, "message": reason, "code": status.as_u16(),
    });
    let mut response = Response::new(Body::from(serde_json::to_vec(&body).unwrap()));
    *response.status_mut() = status;
    response
}
