// Command image packs files of this machine into a container image, with no
// container engine: one layer, an image config and an index, as a tar archive
// in the OCI layout that containerd, podman and docker load.
//
//	image -o node.tar -t example.test/node:dev -user 65532:65532 \
//	      -entrypoint /usr/bin/node target/release/node:/usr/bin/node
//
// Nothing is in it but what was named, as in an image FROM scratch. A dynamically
// linked program brings its shared libraries with -libs. The same input gives
// the same bytes, whoever packs it and whenever.
package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
)

type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

func main() {
	out := flag.String("o", "", "archive to write")
	tag := flag.String("t", "", "image name, with registry and tag, for example example.test/node:dev")
	user := flag.String("user", "65532:65532", "numeric user and group that the container runs as")
	workdir := flag.String("workdir", "/", "working directory")
	libs := flag.Bool("libs", false, "add the shared libraries that the programs need (asks ldd)")
	var entrypoint, cmd, env, dirs, links, ports list
	flag.Var(&entrypoint, "entrypoint", "entry point, one argument per flag")
	flag.Var(&cmd, "cmd", "default arguments, one per flag")
	flag.Var(&env, "env", "NAME=value")
	flag.Var(&dirs, "dir", "directory owned by the container's user, for example /data")
	flag.Var(&links, "link", "LINK=TARGET, a symbolic link")
	flag.Var(&ports, "port", "documented port, for example 6379/tcp")
	flag.Parse()
	if *out == "" || *tag == "" || flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: image -o ARCHIVE -t NAME [flag...] FILE_OR_DIR:PATH_IN_IMAGE...")
		flag.PrintDefaults()
		os.Exit(2)
	}

	r := root{entries: map[string]entry{}}
	for _, arg := range flag.Args() {
		from, to, ok := strings.Cut(arg, ":")
		if !ok {
			to = from
		}
		must(r.add(from, to))
		if *libs {
			must(r.addLibraries(from))
		}
	}
	uid, gid := ids(*user)
	for _, d := range dirs {
		r.put(d, entry{mode: 0o755, kind: tar.TypeDir, uid: uid, gid: gid})
	}
	for _, l := range links {
		from, to, _ := strings.Cut(l, "=")
		r.put(from, entry{mode: 0o777, kind: tar.TypeSymlink, target: to})
	}
	layer := r.tar()
	if env == nil {
		env = list{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	}
	exposed := map[string]struct{}{}
	for _, p := range ports {
		exposed[p] = struct{}{}
	}
	config := encode(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config": map[string]any{
			"User": *user, "Entrypoint": entrypoint, "Cmd": cmd, "Env": env,
			"WorkingDir": *workdir, "ExposedPorts": exposed,
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{digest(layer)}},
	})
	manifest := encode(map[string]any{
		"schemaVersion": 2,
		"mediaType":     "application/vnd.oci.image.manifest.v1+json",
		"config":        describe("application/vnd.oci.image.config.v1+json", config),
		"layers":        []any{describe("application/vnd.oci.image.layer.v1.tar", layer)},
	})
	entry := describe("application/vnd.oci.image.manifest.v1+json", manifest)
	short := (*tag)[strings.LastIndex(*tag, ":")+1:]
	entry["annotations"] = map[string]string{
		"io.containerd.image.name":          *tag,
		"org.opencontainers.image.ref.name": short,
	}
	index := encode(map[string]any{
		"schemaVersion": 2,
		"mediaType":     "application/vnd.oci.image.index.v1+json",
		"manifests":     []any{entry},
	})
	blob := func(b []byte) string { return "blobs/sha256/" + strings.TrimPrefix(digest(b), "sha256:") }
	docker := encode([]any{map[string]any{
		"Config": blob(config), "RepoTags": []string{*tag}, "Layers": []string{blob(layer)},
	}})

	f, err := os.Create(*out)
	must(err)
	w := tar.NewWriter(f)
	for _, file := range []struct {
		name string
		data []byte
	}{
		{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		{"index.json", index},
		{"manifest.json", docker},
		{blob(manifest), manifest},
		{blob(config), config},
		{blob(layer), layer},
	} {
		must(w.WriteHeader(&tar.Header{Name: file.name, Mode: 0o644, Size: int64(len(file.data))}))
		_, err := w.Write(file.data)
		must(err)
	}
	must(w.Close())
	must(f.Close())
	fmt.Printf("%s %s %.1f MiB\n", *tag, digest(config)[:19], float64(len(layer))/(1<<20))
}

// entry is one file, directory or link of the image.
type entry struct {
	mode     int64
	kind     byte
	target   string
	data     []byte
	uid, gid int
}

// root is the image's file tree, by absolute path.
type root struct{ entries map[string]entry }

func (r *root) put(name string, e entry) {
	name = path.Clean("/" + name)
	for d := path.Dir(name); d != "/"; d = path.Dir(d) {
		r.putIfNew(d, entry{mode: 0o755, kind: tar.TypeDir})
	}
	r.entries[name] = e
}

func (r *root) putIfNew(name string, e entry) {
	if _, ok := r.entries[name]; !ok {
		r.put(name, e)
	}
}

// add copies a file, or a directory with all it holds.
func (r *root) add(from, to string) error {
	if from, err := filepath.EvalSymlinks(from); err != nil {
		return err
	} else if info, err := os.Stat(from); err != nil {
		return err
	} else if !info.IsDir() {
		return r.addFile(from, to, info.Mode())
	}
	return filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(from, p)
		dest := path.Join(to, filepath.ToSlash(rel))
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			if dest != "/" {
				r.putIfNew(dest, entry{mode: int64(info.Mode().Perm()), kind: tar.TypeDir})
			}
			return nil
		case d.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(p)
			r.put(dest, entry{mode: 0o777, kind: tar.TypeSymlink, target: target})
			return err
		case d.Type().IsRegular():
			return r.addFile(p, dest, info.Mode())
		}
		return nil
	})
}

func (r *root) addFile(from, to string, mode fs.FileMode) error {
	data, err := os.ReadFile(from)
	r.put(to, entry{mode: int64(mode.Perm()), kind: tar.TypeReg, data: data})
	return err
}

// addLibraries adds what ldd names, each at the path where the loader looks.
func (r *root) addLibraries(program string) error {
	text, err := exec.Command("ldd", program).Output()
	if err != nil {
		return nil // statically linked, or not a program
	}
	for _, line := range strings.Split(string(text), "\n") {
		for _, word := range strings.Fields(line) {
			if !strings.HasPrefix(word, "/") {
				continue
			}
			if err := r.add(word, word); err != nil {
				return err
			}
		}
	}
	return nil
}

// tar writes the tree in path order, without times or local owners.
func (r *root) tar() []byte {
	names := make([]string, 0, len(r.entries))
	for name := range r.entries {
		names = append(names, name)
	}
	sort.Strings(names)
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, name := range names {
		e := r.entries[name]
		h := &tar.Header{
			Name: strings.TrimPrefix(name, "/"), Mode: e.mode, Typeflag: e.kind,
			Linkname: e.target, Size: int64(len(e.data)), Uid: e.uid, Gid: e.gid,
		}
		if e.kind == tar.TypeDir {
			h.Name += "/"
		}
		must(w.WriteHeader(h))
		_, err := io.Copy(w, bytes.NewReader(e.data))
		must(err)
	}
	must(w.Close())
	return buf.Bytes()
}

func describe(mediaType string, data []byte) map[string]any {
	return map[string]any{"mediaType": mediaType, "digest": digest(data), "size": len(data)}
}

func digest(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

func encode(v any) []byte {
	b, err := json.Marshal(v)
	must(err)
	return b
}

func ids(user string) (uid, gid int) {
	if n, _ := fmt.Sscanf(user, "%d:%d", &uid, &gid); n == 1 {
		gid = uid
	} else if n == 0 {
		fmt.Fprintln(os.Stderr, "image: -user must be numeric, so that runAsNonRoot can be checked:", user)
		os.Exit(2)
	}
	return uid, gid
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}
