package servingcert

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// ValidatingWebhooks is the resource of the configurations of validating webhooks.
var ValidatingWebhooks = schema.GroupVersionResource{Group: admissionregistrationv1.GroupName, Version: "v1",
	Resource: "validatingwebhookconfigurations"}

// ValidatingWebhook returns an Announce function: it writes the authorities into every webhook of the configuration of
// this name, which the installation made.
func ValidatingWebhook(client kubernetes.Interface, name, owner string) func(ctx context.Context,
	authorities []byte) error {
	return func(ctx context.Context, authorities []byte) error {
		configurations := client.AdmissionregistrationV1().ValidatingWebhookConfigurations()
		current, err := configurations.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("read webhook configuration %s: %w", name, err)
		}
		type clientConfig struct {
			CABundle []byte `json:"caBundle"`
		}
		type webhook struct {
			Name         string       `json:"name"`
			ClientConfig clientConfig `json:"clientConfig"`
		}
		var changed []webhook
		for _, w := range current.Webhooks {
			if !bytes.Equal(w.ClientConfig.CABundle, authorities) {
				changed = append(changed, webhook{w.Name, clientConfig{authorities}})
			}
		}
		if changed == nil {
			return nil
		}
		patch, err := json.Marshal(map[string]any{"webhooks": changed})
		if err != nil {
			return fmt.Errorf("encode webhook configuration %s: %w", name, err)
		}
		_, err = configurations.Patch(ctx, name, types.StrategicMergePatchType, patch,
			metav1.PatchOptions{FieldManager: owner})
		if err != nil {
			return fmt.Errorf("write authorities into webhook configuration %s: %w", name, err)
		}
		return nil
	}
}
