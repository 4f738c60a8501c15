// A stand-in for terraform-provider-aws that serves the provider's schema and nothing else. With it the real Terraform
// validates the modules and runs their tests (mock_provider) without the cloud and without the provider's 700 MB. The
// checks find misspelt, missing and mistyped arguments. They cannot find values that the cloud would reject.
//
// schema.json is derived from the types in the npm package @cdktf/provider-aws 21.22.1 (provider 6.25.0) and holds the
// resources that terraform/ uses.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"path/filepath"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6/tf6server"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// jattr is an attribute of schema.json; C, O and R are computed, optional and required.
type jattr struct {
	Type    any `json:"type"`
	C, O, R bool
	Nested  *jblk `json:"nested"`
}

// jblk is a nested block; AttrOK marks an "attribute as blocks" of the provider's SDK.
type jblk struct {
	Nesting string `json:"nesting"`
	Min     int64  `json:"min"`
	Max     int64  `json:"max"`
	AttrOK  bool   `json:"attr_ok"`
	Block   *jbody `json:"block"`
}
type jbody struct {
	Attributes map[string]jattr `json:"attributes"`
	Blocks     map[string]jblk  `json:"blocks"`
}
type jroot struct {
	Version   string            `json:"version"`
	Provider  *jbody            `json:"provider"`
	Resources map[string]*jbody `json:"resources"`
	Data      map[string]*jbody `json:"data"`
}

// typ returns the Terraform type of a type in schema.json, or nil for a recursive shape.
func typ(t any) tftypes.Type {
	switch v := t.(type) {
	case string:
		return map[string]tftypes.Type{"string": tftypes.String, "number": tftypes.Number, "bool": tftypes.Bool}[v]
	case []any:
		e := typ(v[1])
		switch v[0] {
		case "list":
			return tftypes.List{ElementType: e}
		case "set":
			return tftypes.Set{ElementType: e}
		case "map":
			return tftypes.Map{ElementType: e}
		}
	}
	return nil
}

// attrs returns the attributes of a body.
func attrs(b *jbody) (out []*tfprotov6.SchemaAttribute) {
	for n, a := range b.Attributes {
		s := &tfprotov6.SchemaAttribute{Name: n, Computed: a.C, Optional: a.O, Required: a.R}
		if a.Nested != nil {
			m := map[string]tfprotov6.SchemaObjectNestingMode{"single": tfprotov6.SchemaObjectNestingModeSingle, "list": tfprotov6.SchemaObjectNestingModeList, "set": tfprotov6.SchemaObjectNestingModeSet, "map": tfprotov6.SchemaObjectNestingModeMap}
			o := &tfprotov6.SchemaObject{Nesting: m[a.Nested.Nesting], Attributes: attrs(a.Nested.Block)}
			for bn, bb := range a.Nested.Block.Blocks { // blocks cannot sit in nested attributes
				o.Attributes = append(o.Attributes, &tfprotov6.SchemaAttribute{Name: bn, Optional: true, NestedType: &tfprotov6.SchemaObject{Nesting: m[bb.Nesting], Attributes: attrs(bb.Block)}})
			}
			s.NestedType = o
		} else if s.Type = typ(a.Type); s.Type == nil {
			s.Type = tftypes.String // 33 attributes of recursive shapes (wafv2, quicksight): core forbids dynamic in set blocks
		}
		if !s.Computed && !s.Optional && !s.Required {
			s.Optional = true
		}
		out = append(out, s)
	}
	return
}

// block returns a body with its attributes and nested blocks.
func block(b *jbody) *tfprotov6.SchemaBlock {
	o := &tfprotov6.SchemaBlock{Attributes: attrs(b)}
	m := map[string]tfprotov6.SchemaNestedBlockNestingMode{"single": tfprotov6.SchemaNestedBlockNestingModeSingle, "list": tfprotov6.SchemaNestedBlockNestingModeList, "set": tfprotov6.SchemaNestedBlockNestingModeSet, "map": tfprotov6.SchemaNestedBlockNestingModeMap, "struct": tfprotov6.SchemaNestedBlockNestingModeSingle}
	for n, x := range b.Blocks {
		nb := &tfprotov6.SchemaNestedBlock{TypeName: n, Nesting: m[x.Nesting], Block: block(x.Block)}
		if x.Nesting == "list" || x.Nesting == "set" {
			nb.MinItems, nb.MaxItems = x.Min, x.Max
		}
		if x.AttrOK { // SDK "attributes as blocks" (aws_security_group.ingress): an attribute of objects, which terraform also accepts as blocks
			obj := tftypes.Object{AttributeTypes: map[string]tftypes.Type{}}
			for an, a := range x.Block.Attributes {
				if t := typ(a.Type); t != nil {
					obj.AttributeTypes[an] = t
				}
			}
			var t tftypes.Type = tftypes.List{ElementType: obj}
			if x.Nesting == "set" {
				t = tftypes.Set{ElementType: obj}
			}
			o.Attributes = append(o.Attributes, &tfprotov6.SchemaAttribute{Name: n, Type: t, Optional: true, Computed: true})
			continue
		}
		o.BlockTypes = append(o.BlockTypes, nb)
	}
	return o
}

// server answers the calls that Terraform makes before a plan; mock_provider does the rest. Any other call panics.
type server struct {
	tfprotov6.ProviderServer
	schema *tfprotov6.GetProviderSchemaResponse
}

func (s server) GetMetadata(context.Context, *tfprotov6.GetMetadataRequest) (*tfprotov6.GetMetadataResponse, error) {
	return &tfprotov6.GetMetadataResponse{ServerCapabilities: &tfprotov6.ServerCapabilities{}}, nil
}

func (s server) GetProviderSchema(context.Context, *tfprotov6.GetProviderSchemaRequest) (*tfprotov6.GetProviderSchemaResponse, error) {
	return s.schema, nil
}

func (s server) GetResourceIdentitySchemas(context.Context, *tfprotov6.GetResourceIdentitySchemasRequest) (*tfprotov6.GetResourceIdentitySchemasResponse, error) {
	return &tfprotov6.GetResourceIdentitySchemasResponse{}, nil
}

func (s server) GetFunctions(context.Context, *tfprotov6.GetFunctionsRequest) (*tfprotov6.GetFunctionsResponse, error) {
	return &tfprotov6.GetFunctionsResponse{}, nil
}

func (s server) ValidateProviderConfig(_ context.Context, q *tfprotov6.ValidateProviderConfigRequest) (*tfprotov6.ValidateProviderConfigResponse, error) {
	return &tfprotov6.ValidateProviderConfigResponse{PreparedConfig: q.Config}, nil
}

func (s server) ConfigureProvider(context.Context, *tfprotov6.ConfigureProviderRequest) (*tfprotov6.ConfigureProviderResponse, error) {
	return &tfprotov6.ConfigureProviderResponse{}, nil
}

func (s server) StopProvider(context.Context, *tfprotov6.StopProviderRequest) (*tfprotov6.StopProviderResponse, error) {
	return &tfprotov6.StopProviderResponse{}, nil
}

func (s server) ValidateResourceConfig(context.Context, *tfprotov6.ValidateResourceConfigRequest) (*tfprotov6.ValidateResourceConfigResponse, error) {
	return &tfprotov6.ValidateResourceConfigResponse{}, nil
}

func (s server) ValidateDataResourceConfig(context.Context, *tfprotov6.ValidateDataResourceConfigRequest) (*tfprotov6.ValidateDataResourceConfigResponse, error) {
	return &tfprotov6.ValidateDataResourceConfigResponse{}, nil
}

func main() {
	executable, err := os.Executable()
	if err != nil {
		log.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(filepath.Dir(executable), "schema.json"))
	if err != nil {
		log.Fatal(err)
	}
	var known jroot
	if err := json.Unmarshal(raw, &known); err != nil {
		log.Fatal(err)
	}
	schema := &tfprotov6.GetProviderSchemaResponse{
		Provider:          &tfprotov6.Schema{Block: block(known.Provider)},
		ResourceSchemas:   map[string]*tfprotov6.Schema{},
		DataSourceSchemas: map[string]*tfprotov6.Schema{},
	}
	for name, body := range known.Resources {
		schema.ResourceSchemas[name] = &tfprotov6.Schema{Block: block(body)}
	}
	for name, body := range known.Data {
		schema.DataSourceSchemas[name] = &tfprotov6.Schema{Block: block(body)}
	}
	serve := func() tfprotov6.ProviderServer { return server{schema: schema} }
	if err := tf6server.Serve("registry.terraform.io/hashicorp/aws", serve); err != nil {
		log.Fatal(err)
	}
}
