//! Pods of users: one that holds a lock for as long as it runs.

use crate::patience::until;
use serde_json::Value;

use crate::namespace::Namespace;

/// The lock that it holds.
pub const LOCK: &str = "report";

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: holder, labels: {app: holder}}
spec:
  enableServiceLinks: false
  terminationGracePeriodSeconds: 1
  restartPolicy: Never
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  affinity: AFFINITY
  containers:
    - name: dsync
      image: NODE_IMAGE
      imagePullPolicy: Never
      # Through the service, by the name that any pod of this namespace can use. The command under the
      # lock is one that runs until it is ended. The lease outlives a move of the cluster's DNS.
      args: [lock, report, --ttl, 90s, --, dsync, node, --name=work, --data=/data/node, --founders=1, --segment-bytes=1MiB, --threads=1]
      env: [{name: DSYNC_SERVERS, value: \"http://dsync:7070\"}]
      securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
      volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, emptyDir: {}}]
";

/// On the machine of that pod: it must not be lost with another one.
const BESIDE: &str = "{podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [
    {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {statefulset.kubernetes.io/pod-name: POD}}}]}}";

/// A pod that has taken the lock.
#[derive(Debug, PartialEq, Eq)]
pub struct Holder {
    hold: Value,
    token: Value,
}

impl Holder {
    /// Starts it, and waits until a node says that it holds the lock.
    pub fn start(namespace: &Namespace) -> Self {
        Self::start_with(namespace, "{}", "dsync-0")
    }

    /// The same, on the machine of that pod.
    pub fn start_beside(namespace: &Namespace, pod: &str) -> Self {
        Self::start_with(namespace, &BESIDE.replace("POD", pod), pod)
    }

    fn start_with(namespace: &Namespace, affinity: &str, from: &str) -> Self {
        namespace.apply(&POD.replace("AFFINITY", affinity));
        until("the pod has the lock", || Self::seen(namespace, from))
    }

    /// What a node says of the lock's holder.
    fn seen(namespace: &Namespace, from: &str) -> Option<Self> {
        let lock = namespace.dsync(from, &["locks", "get", LOCK, "-o", "json"]).json()?;
        let holder = lock["holders"].get(0)?;
        Some(Self { hold: holder["hold"].clone(), token: holder["token"].clone() })
    }

    /// That the lock is still held by the same hold, nobody else gets it, and the command runs on.
    pub fn check(&self, namespace: &Namespace, from: &str) {
        let seen = until("a node answers", || Self::seen(namespace, from));
        assert_eq!(&seen, self);
        assert!(self.hold.is_string() && self.token.is_u64(), "{self:?}");
        let other = namespace.dsync(from, &["lock", LOCK, "--try", "--", "dsync", "--version"]);
        assert_eq!(other.code, 75, "not acquired: {other:?}");
        let state = namespace.field("pod/holder", ".status.phase");
        assert_eq!(state, "Running", "its command was not ended");
    }
}
