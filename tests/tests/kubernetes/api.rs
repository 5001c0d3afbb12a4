//! The API server without kubectl, for hundreds of questions: a process for each would take longer than
//! what is asked about.

use http::Request;
use kube::Client;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::namespace::Namespace;

/// As administrator.
pub struct Api {
    runtime: Runtime,
    client: Client,
}

impl Api {
    /// A client for the file that `KUBECONFIG` names.
    pub fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let client = runtime.block_on(Client::try_default()).unwrap();
        Self { runtime, client }
    }

    /// A resource like `service/dsync`, if it is there.
    pub fn get(&self, namespace: &Namespace, resource: &str) -> Option<Value> {
        self.send(Request::get(path(namespace, resource)).body(Vec::new()).unwrap())
    }

    /// The resource after the steps of a JSON patch; `None` if they are refused.
    pub fn patch(&self, namespace: &Namespace, resource: &str, steps: &Value) -> Option<Value> {
        let request = Request::patch(path(namespace, resource));
        let request = request.header("content-type", "application/json-patch+json");
        self.send(request.body(steps.to_string().into_bytes()).unwrap())
    }

    fn send(&self, request: Request<Vec<u8>>) -> Option<Value> {
        match self.runtime.block_on(self.client.request(request)) {
            Ok(answer) => Some(answer),
            Err(kube::Error::Api(status)) if status.code < 500 => None,
            Err(error) => panic!("{error}"),
        }
    }
}

fn path(namespace: &Namespace, resource: &str) -> String {
    let (kind, name) = resource.split_once('/').unwrap();
    let (group, plural) = match kind {
        "configmap" => ("api/v1", "configmaps"),
        "service" => ("api/v1", "services"),
        "serviceaccount" => ("api/v1", "serviceaccounts"),
        "deployment" => ("apis/apps/v1", "deployments"),
        "statefulset" => ("apis/apps/v1", "statefulsets"),
        "poddisruptionbudget" => ("apis/policy/v1", "poddisruptionbudgets"),
        "networkpolicy" => ("apis/networking.k8s.io/v1", "networkpolicies"),
        kind => panic!("where is a {kind}?"),
    };
    format!("/{group}/namespaces/{}/{plural}/{name}", namespace.name())
}
