package compile

import (
	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/mesh"
)

// profileRoute reads a route. One with a mistake in its condition matches nothing, rather than more than was meant.
func (c *compiler) profileRoute(path string, in *v1alpha1.RouteSpec) mesh.ProfileRoute {
	c.broken = ""
	out := mesh.ProfileRoute{Name: in.Name, Retryable: in.IsRetryable,
		Budget: c.budget(path+".retryBudget", in.RetryBudget)}
	if out.Budget != nil && !out.Retryable {
		c.ignored(path+".retryBudget", "the route is not retryable; this has no effect")
	}
	if in.Timeout != "" {
		d, err := anyDuration(in.Timeout)
		if err != nil {
			c.unsupported(path+".timeout", "%v", err)
		}
		out.Timeout = d
	}
	c.broken = ""
	out.Condition = c.condition(path+".condition", in.Condition, 0)
	if c.broken != "" {
		out.Condition = mesh.Condition{Not: &mesh.Condition{}}
	}
	for i := range in.ResponseClasses {
		class := &in.ResponseClasses[i]
		c.broken = ""
		condition := c.responseCondition(ElementPath(path, "responseClasses", i)+".condition", class.Condition, 0)
		if c.broken == "" {
			out.Classes = append(out.Classes, mesh.ResponseClass{Condition: condition, Failure: class.IsFailure})
		}
	}
	return out
}

// deeper counts a condition; ok is false, and there is a finding, if the condition is missing or one too many.
func (c *compiler) deeper(path string, missing bool, depth int) (ok bool) {
	if missing {
		c.unsupported(path, "a condition is needed")
		return false
	}
	if c.matches++; c.matches > maxConditions {
		c.unsupported(path, "the routes have more than %d conditions", maxConditions)
		return false
	}
	if depth > maxDepth {
		c.unsupported(path, "the condition is nested more than %d deep", maxDepth)
		return false
	}
	return true
}

func (c *compiler) condition(path string, in *v1alpha1.RequestMatch, depth int) mesh.Condition {
	var out mesh.Condition
	if !c.deeper(path, in == nil, depth) {
		return out
	}
	if in.Method == "" && in.PathRegex == "" && len(in.All) == 0 && len(in.Any) == 0 && in.Not == nil {
		c.unsupported(path, "an empty condition: want pathRegex, method, all, any or not")
	}
	out.Method = in.Method
	if in.PathRegex != "" {
		out.PathRegex = c.regex(path+".pathRegex", in.PathRegex)
	}
	for i, m := range in.All {
		out.All = append(out.All, c.condition(ElementPath(path, "all", i), m, depth+1))
	}
	for i, m := range in.Any {
		out.Any = append(out.Any, c.condition(ElementPath(path, "any", i), m, depth+1))
	}
	if in.Not != nil {
		not := c.condition(path+".not", in.Not, depth+1)
		out.Not = &not
	}
	return out
}

func (c *compiler) responseCondition(path string, in *v1alpha1.ResponseMatch, depth int) mesh.ResponseCondition {
	var out mesh.ResponseCondition
	if !c.deeper(path, in == nil, depth) {
		return out
	}
	if in.Status == nil && len(in.All) == 0 && len(in.Any) == 0 && in.Not == nil {
		c.unsupported(path, "an empty condition: want status, all, any or not")
	}
	if in.Status != nil {
		out.Status = c.statusRange(path+".status", in.Status)
	}
	for i, m := range in.All {
		out.All = append(out.All, c.responseCondition(ElementPath(path, "all", i), m, depth+1))
	}
	for i, m := range in.Any {
		out.Any = append(out.Any, c.responseCondition(ElementPath(path, "any", i), m, depth+1))
	}
	if in.Not != nil {
		not := c.responseCondition(path+".not", in.Not, depth+1)
		out.Not = &not
	}
	return out
}

// statusRange reads a range, one of whose ends may be left out: then it is one status.
func (c *compiler) statusRange(path string, in *v1alpha1.Range) mesh.StatusRange {
	first, last := in.Min, in.Max
	if first == 0 {
		first = last
	}
	if last == 0 {
		last = first
	}
	if first < 100 || last > 599 || first > last {
		c.unsupported(path, "%d to %d is not a range of statuses: want 100 to 599", in.Min, in.Max)
		return mesh.StatusRange{}
	}
	return mesh.StatusRange{First: uint16(first), Last: uint16(last)}
}
