package installation

import (
	"context"
	"fmt"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/install"
	"github.com/tulle-mesh/tulle/mesh"
)

// Missing returns which of the manifests the cluster does not have, as kind/name.
func Missing(ctx context.Context, cl *cluster.Client, manifests []byte) ([]string, error) {
	var missing []string
	for _, doc := range install.Documents(manifests) {
		var meta metav1.PartialObjectMetadata
		if err := yaml.Unmarshal([]byte(doc), &meta); err != nil {
			return nil, fmt.Errorf("decode manifest: %w", err)
		}
		get, ok := getters(cl)[meta.Kind]
		if !ok {
			continue
		}
		switch err := get(ctx, meta.Namespace, meta.Name); {
		case apierrors.IsNotFound(err):
			missing = append(missing, meta.Kind+"/"+meta.Name)
		case err != nil:
			return nil, err
		}
	}
	return missing, nil
}

// Webhook returns the webhooks of the injector as the manifests have them.
func Webhook(manifests []byte) (*admissionv1.MutatingWebhookConfiguration, error) {
	for _, doc := range install.Documents(manifests) {
		var config admissionv1.MutatingWebhookConfiguration
		if err := yaml.Unmarshal([]byte(doc), &config); err != nil {
			return nil, fmt.Errorf("decode manifest: %w", err)
		}
		if config.Kind == "MutatingWebhookConfiguration" && config.Name == mesh.WebhookConfiguration {
			return &config, nil
		}
	}
	return nil, fmt.Errorf("there is no MutatingWebhookConfiguration %s among the manifests", mesh.WebhookConfiguration)
}

// getters says how to look for an object of each kind that an installation consists of.
func getters(cl *cluster.Client) map[string]func(ctx context.Context, namespace, name string) error {
	opts := metav1.GetOptions{}
	return map[string]func(ctx context.Context, namespace, name string) error{
		"Namespace": func(ctx context.Context, _, name string) error {
			_, err := cl.CoreV1().Namespaces().Get(ctx, name, opts)
			return err
		},
		"ConfigMap": func(ctx context.Context, ns, name string) error {
			_, err := cl.CoreV1().ConfigMaps(ns).Get(ctx, name, opts)
			return err
		},
		"ServiceAccount": func(ctx context.Context, ns, name string) error {
			_, err := cl.CoreV1().ServiceAccounts(ns).Get(ctx, name, opts)
			return err
		},
		"Service": func(ctx context.Context, ns, name string) error {
			_, err := cl.CoreV1().Services(ns).Get(ctx, name, opts)
			return err
		},
		"Deployment": func(ctx context.Context, ns, name string) error {
			_, err := cl.AppsV1().Deployments(ns).Get(ctx, name, opts)
			return err
		},
		"PodDisruptionBudget": func(ctx context.Context, ns, name string) error {
			_, err := cl.PolicyV1().PodDisruptionBudgets(ns).Get(ctx, name, opts)
			return err
		},
		"Role": func(ctx context.Context, ns, name string) error {
			_, err := cl.RbacV1().Roles(ns).Get(ctx, name, opts)
			return err
		},
		"RoleBinding": func(ctx context.Context, ns, name string) error {
			_, err := cl.RbacV1().RoleBindings(ns).Get(ctx, name, opts)
			return err
		},
		"ClusterRole": func(ctx context.Context, _, name string) error {
			_, err := cl.RbacV1().ClusterRoles().Get(ctx, name, opts)
			return err
		},
		"ClusterRoleBinding": func(ctx context.Context, _, name string) error {
			_, err := cl.RbacV1().ClusterRoleBindings().Get(ctx, name, opts)
			return err
		},
		"MutatingWebhookConfiguration": func(ctx context.Context, _, name string) error {
			_, err := cl.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, name, opts)
			return err
		},
		"ValidatingAdmissionPolicy": func(ctx context.Context, _, name string) error {
			_, err := cl.AdmissionregistrationV1().ValidatingAdmissionPolicies().Get(ctx, name, opts)
			return err
		},
		"ValidatingAdmissionPolicyBinding": func(ctx context.Context, _, name string) error {
			_, err := cl.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Get(ctx, name, opts)
			return err
		},
	}
}

// missingDefinitions returns the definitions of custom resources that the cluster lacks, without those of the Gateway
// API unless gateway is set. A nil cluster, or one that does not answer, counts as empty. Notes say what the user
// should know.
func missingDefinitions(
	ctx context.Context, cl *cluster.Client, t install.Target, gateway bool,
) (missing []install.Definition, notes []string, err error) {
	all, err := install.Definitions(t)
	if err != nil {
		return nil, nil, err
	}
	existing := map[string]map[string]string{}
	if cl != nil {
		definitions, err := cl.Definitions(ctx)
		if err != nil {
			notes = append(notes, fmt.Sprint("printing every definition, since the cluster does not say what it has: ", err))
		}
		for _, d := range definitions {
			existing[d.Name] = d.Annotations
		}
	}
	if !gateway {
		all = slices.DeleteFunc(all, func(d install.Definition) bool { return d.Gateway() })
	}
	missing, more := install.Missing(all, existing)
	return missing, append(notes, more...), nil
}
