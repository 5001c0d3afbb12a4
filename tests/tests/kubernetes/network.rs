//! Network policies are enforced: without that, no test of ours would see one that is too strict.

use dsync_tests::process::until::until;

use crate::namespace::Namespace;

const ALONE: &str = "
apiVersion: v1
kind: Pod
metadata: {name: NAME, labels: {app: NAME}}
spec:
  enableServiceLinks: false
  terminationGracePeriodSeconds: 1
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: dsync
      image: NODE_IMAGE
      imagePullPolicy: Never
      args: [node, --name=NAME, --data=/data/node, --founders=1, --segment-bytes=1MiB, --threads=1]
      ports: [{name: client, containerPort: 7070}]
      readinessProbe: {httpGet: {path: /readyz, port: 7072}, periodSeconds: 1}
      securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
      volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, emptyDir: {}}]
";

const POLICY: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: clients}
spec:
  podSelector: {matchLabels: {app: server}}
  ingress: [{from: [{podSelector: {matchLabels: {app: friend}}}], ports: [{port: client}]}]
";

#[test]
fn a_policy_closes_the_port_of_clients_to_strangers() {
    let namespace = Namespace::new("network");
    let pods = ["server", "friend", "stranger"];
    pods.iter().for_each(|name| namespace.apply(&ALONE.replace("NAME", name)));
    pods.iter()
        .for_each(|name| namespace.await_condition(&format!("pod/{name}"), "condition=Ready"));
    let address = namespace.field("pod/server", ".status.podIP");
    let asks = |pod: &str, port: u16| {
        let server = format!("http://{address}:{port}");
        namespace.dsync(pod, &["status", "--server", &server]).code == 0
    };
    assert!(asks("stranger", 7070), "without a policy everybody may ask");

    namespace.apply(POLICY);
    until("the policy holds", || (!asks("stranger", 7070)).then_some(()));
    assert!(asks("friend", 7070), "who is named in it may ask");
    // The kubelet asks from outside of it.
    namespace.await_condition("pod/server", "condition=Ready");

    namespace.kubectl(&["delete", "networkpolicy", "clients"]).well();
    until("the policy is gone", || asks("stranger", 7070).then_some(()));
}
