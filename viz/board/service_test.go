package board

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tulle-mesh/tulle/viz/resource"
)

// serviceCluster is a cluster with the Services api and db besides its workloads.
type serviceCluster struct{ graphCluster }

// List implements resource.Lister.
func (c serviceCluster) List(ctx context.Context, k resource.Kind, namespace, selector string) ([]resource.Object,
	error) {
	objects, err := c.graphCluster.List(ctx, k, namespace, selector)
	if k.Name == "service" && namespace == "shop" && err == nil {
		objects = append(objects, resource.Object{Namespace: "shop", Name: "api"},
			resource.Object{Namespace: "shop", Name: "bare"})
	}
	return objects, err
}

// endpointSeries are the requests to the endpoints of the Service api.
func endpointSeries() string {
	return sent("shop", "web", `dst_namespace="shop",dst_deployment="api",dst_service="api"`, mTLS("server", "shop", "api"),
		57, 3) +
		sent("far", "batch", `dst_namespace="shop",dst_deployment="api",dst_service="api"`, mTLS("server", "shop", "api"), 6,
			0)
}

func serviceSources(t *testing.T, cluster graphCluster) Sources {
	t.Helper()
	s := graphSources(t, cluster, endpointSeries()+strings.TrimPrefix(shopSeries(), graphSeries()))
	s.Objects = serviceCluster{cluster}
	s.Configuration = func(context.Context, string) (Configuration, error) { return shopConfiguration{}, nil }
	return s
}

func serviceOf(t *testing.T, s Sources, name string) ServicePage {
	t.Helper()
	page, err := Service(t.Context(), s, Query{Namespace: "shop", Name: name, Window: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return page
}

func TestServiceShowsCallersRoutesAndEndpoints(t *testing.T) {
	hidden := graphShop()
	hidden.forbidden = []string{"far"}
	for name, tt := range map[string]struct {
		cluster graphCluster
		second  string
	}{
		"with the right to see the callers":    {graphShop(), "deployment/far/batch : 0.0rps, open 2"},
		"without the right to see the callers": {hidden, "hidden// : 0.0rps, open 2"},
	} {
		page := serviceOf(t, serviceSources(t, tt.cluster), "api")
		var got []string
		for _, c := range page.Callers {
			got = append(got, fmt.Sprintf("%s %s: %.1frps, open %d", topologyID(c.Ref), c.Protocol, c.RPS, *c.TCPOpen))
		}
		want := []string{"deployment/shop/web HTTP: 1.0rps, open 2", tt.second}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: callers (-want +got):\n%s", name, diff)
		}
	}
	page := serviceOf(t, serviceSources(t, graphShop()), "api")
	want := []string{
		`api:80 HTTPRoute "split": 0.90 at 1.0rps, actual 0.75 at 1.2rps, retries 0.17, timeouts 0.05`,
		"api-v1: 0.83 of 0.90, success 0.90",
		"api-v2: 0.17 of 0.10, success 0.00",
		"api-v3: - of 0.00, success - Service api-v3 does not exist",
		`api:80  "unused": - at 0.0rps, actual -, retries -, timeouts -`,
	}
	if diff := cmp.Diff(want, routeLines(page.Routes)); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
	var got []string
	for _, w := range page.Workloads {
		got = append(got, fmt.Sprintf("%s %d/%d %.1frps", topologyID(w.Ref), w.Meshed, w.Pods, w.RPS))
	}
	want = []string{"deployment/shop/api 1/1 1.1rps", "deployment/shop/plain 0/1 0.0rps"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("workloads (-want +got):\n%s", diff)
	}
	ports := []ServicePort{{80, "detect", 1, 2, "tulle diagnostics endpoints api.shop:80"}}
	if diff := cmp.Diff(ports, page.Ports); diff != "" || !page.Configured {
		t.Errorf("ports (-want +got):\n%s", diff)
	}
}

func TestServiceEqualsStat(t *testing.T) {
	s := serviceSources(t, graphShop())
	page := serviceOf(t, s, "api")
	compareNumbers(t, page.Commands["stat"], page.Golden, &page.TCP.Open,
		statRow(t, s, Ref{"service", "shop", "api"}, nil))
}

func TestServiceWithoutTrafficOrConfiguration(t *testing.T) {
	s := serviceSources(t, graphShop())
	page := serviceOf(t, s, "bare")
	if page.Success != nil || len(page.Callers)+len(page.Routes)+len(page.Workloads) != 0 {
		t.Errorf("page of a Service without traffic: %+v", page)
	}
	s.Configuration = func(context.Context, string) (Configuration, error) { return nil, errors.New("no right") }
	page = serviceOf(t, s, "api")
	if page.Configured || len(page.Notes) != 2 || len(page.Workloads) != 1 || page.Workloads[0].Pods != 0 {
		t.Errorf("page without configuration: notes %q, workloads %+v", page.Notes, page.Workloads)
	}
}

func TestServiceRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		q    Query
		code string
	}{
		"no name":                  {Query{Namespace: "shop"}, BadRequest},
		"no namespace":             {Query{Name: "api"}, BadRequest},
		"a name without a Service": {Query{Namespace: "shop", Name: "apy"}, NotFound},
	} {
		tt.q.Window = time.Minute
		_, err := Service(t.Context(), serviceSources(t, graphShop()), tt.q)
		if err == nil || Refuse(err).Code != tt.code {
			t.Errorf("%s: error %v; want %s", name, err, tt.code)
		}
	}
}
