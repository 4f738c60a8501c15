/* Walks one row down every tree of a model and returns the exact sum of the leaf values.
 *
 * walk.py uses this walker when `make setup` found a C compiler, and a walk in Python otherwise. Leaf values are 64-bit
 * integers (fixed point, see exact_shift in walk.py), so both walks return the same bits in any order of the trees.
 *
 * The nodes are stored tree by tree in breadth-first order, 16 bytes each; the two children of a node are neighbours. A
 * leaf is stored as a split that always leads to itself (its boundary is infinite). All trees of a group therefore take
 * the same number of steps, without a branch, and the processor loads the nodes of LANES trees in parallel instead of
 * waiting for each (cf. Asadi, Lin and de Vries, "Runtime Optimizations for Tree-Based Machine Learning Models", TKDE
 * 2014).
 *
 * The walker holds the GIL for its whole run. It calls none of the GIL-state functions, which deadlock inside the JVM of
 * the TaskManager.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <structmember.h>

#define LANES 8
#define MAX_FEATURES 256 /* the same as in checks.py */

typedef struct {
    double boundary; /* a feature value <= boundary goes to the left child */
    int32_t feature;
    int32_t left; /* the right child is left + 1 */
} Node;

typedef struct {
    PyObject_HEAD vectorcallfunc call;
    int32_t feature_count, tree_count;
    int32_t *roots;
    int32_t *steps; /* per group of LANES trees: the depth of its deepest tree */
    Node *nodes;
    int64_t *values; /* one per node; only the values of leaves are used */
} Walker;

/* The arrays of linked_trees.Trees, as passed by the caller. */
typedef struct {
    Py_buffer roots, feature, boundary, left, right, value;
} Given;

static int bad(const char *what) {
    PyErr_Format(PyExc_ValueError, "these arrays are not valid trees: %s", what);
    return -1;
}

/* Copies one tree to `next` in breadth-first order; returns the first free place after it, or -1. */
static Py_ssize_t copy_tree(Walker *self, const Given *given, int64_t *origin, Py_ssize_t next, int64_t root, int *depth) {
    const Py_ssize_t count = given->feature.len / (Py_ssize_t)sizeof(int16_t);
    const int16_t *feature = given->feature.buf;
    const int64_t *left = given->left.buf, *right = given->right.buf;
    Py_ssize_t place = next, level_end = next + 1, end = next + 1;
    *depth = 0;
    if (next >= count) return bad("two links lead to one node");
    origin[next] = root;
    for (; place < end; place++) {
        const int64_t node = origin[place];
        if (place == level_end) {
            level_end = end;
            ++*depth;
        }
        if (node < 0 || node >= count) return bad("a node index is outside the arrays");
        self->values[place] = ((const int64_t *)given->value.buf)[node];
        if (feature[node] < 0) {
            self->nodes[place] = (Node){INFINITY, 0, (int32_t)place};
            continue;
        }
        if (feature[node] >= self->feature_count) return bad("a split on a feature index beyond the feature count");
        if (end + 2 > count) return bad("two links lead to one node");
        self->nodes[place] = (Node){((const double *)given->boundary.buf)[node], feature[node], (int32_t)end};
        origin[end++] = left[node];
        origin[end++] = right[node];
    }
    return end;
}

static int copy_trees(Walker *self, const Given *given) {
    const Py_ssize_t count = given->feature.len / (Py_ssize_t)sizeof(int16_t);
    int64_t *origin = PyMem_Malloc((size_t)count * sizeof *origin);
    Py_ssize_t next = 0;
    if (!origin) {
        PyErr_NoMemory();
        return -1;
    }
    for (int32_t tree = 0; tree < self->tree_count && next >= 0; tree++) {
        int depth = 0;
        self->roots[tree] = (int32_t)next;
        next = copy_tree(self, given, origin, next, ((const int64_t *)given->roots.buf)[tree], &depth);
        if (self->steps[tree / LANES] < depth) self->steps[tree / LANES] = depth;
    }
    PyMem_Free(origin);
    return next < 0 ? -1 : 0;
}

static int allocate(Walker *self, Py_ssize_t count) {
    self->roots = PyMem_Calloc((size_t)self->tree_count, sizeof *self->roots);
    self->steps = PyMem_Calloc((size_t)(self->tree_count + LANES - 1) / LANES, sizeof *self->steps);
    self->nodes = PyMem_Calloc((size_t)count, sizeof *self->nodes);
    self->values = PyMem_Calloc((size_t)count, sizeof *self->values);
    if (self->roots && self->steps && self->nodes && self->values) return 0;
    PyErr_NoMemory();
    return -1;
}

/* Returns the sum of leaf values over all trees for one row. */
static int64_t walk(const Walker *self, const double *row) {
    const Node *nodes = self->nodes;
    int64_t sum = 0;
    for (int32_t first = 0; first < self->tree_count; first += LANES) {
        const int32_t lanes = self->tree_count - first < LANES ? self->tree_count - first : LANES;
        int32_t at[LANES] = {0};
        for (int32_t lane = 0; lane < lanes; lane++) at[lane] = self->roots[first + lane];
        for (int32_t step = self->steps[first / LANES]; step > 0; step--)
            for (int32_t lane = 0; lane < LANES; lane++) { /* idle lanes walk the first tree, which avoids a branch */
                const Node node = nodes[at[lane]];
                at[lane] = node.left + !(row[node.feature] <= node.boundary);
            }
        for (int32_t lane = 0; lane < lanes; lane++) sum += self->values[at[lane]];
    }
    return sum;
}

static PyObject *walker_call(PyObject *object, PyObject *const *args, size_t flags, PyObject *names) {
    const Walker *self = (const Walker *)object;
    double row[MAX_FEATURES];
    if (PyVectorcall_NARGS(flags) != 1 || names || !PyTuple_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "a walker takes one tuple of numbers");
        return NULL;
    }
    if (PyTuple_GET_SIZE(args[0]) != self->feature_count)
        return PyErr_Format(PyExc_ValueError, "the model takes %d features, not %zd", (int)self->feature_count,
                            PyTuple_GET_SIZE(args[0]));
    for (int32_t index = 0; index < self->feature_count; index++) {
        row[index] = PyFloat_AsDouble(PyTuple_GET_ITEM(args[0], index));
        if (row[index] == -1.0 && PyErr_Occurred()) return NULL;
        if (isnan(row[index])) {
            PyErr_SetString(PyExc_ValueError, "a feature is NaN; an absent feature is given its neutral value");
            return NULL;
        }
    }
    return PyFloat_FromDouble((double)walk(self, row));
}

static void walker_dealloc(PyObject *object) {
    Walker *self = (Walker *)object;
    PyMem_Free(self->roots);
    PyMem_Free(self->steps);
    PyMem_Free(self->nodes);
    PyMem_Free(self->values);
    Py_TYPE(object)->tp_free(object);
}

static int is_shaped(const Given *given, Py_ssize_t features) {
    const Py_ssize_t count = given->feature.len / (Py_ssize_t)sizeof(int16_t);
    const Py_ssize_t trees = given->roots.len / (Py_ssize_t)sizeof(int64_t), bytes = count * (Py_ssize_t)sizeof(int64_t);
    return features > 0 && features <= MAX_FEATURES && trees > 0 && count > 0 && count < INT32_MAX && trees <= count &&
           given->boundary.len == bytes && given->left.len == bytes && given->right.len == bytes &&
           given->value.len == bytes;
}

static PyObject *walker_new(PyTypeObject *type, PyObject *args, PyObject *names) {
    Given given;
    Py_ssize_t features;
    Walker *self = NULL;
    (void)names;
    if (!PyArg_ParseTuple(args, "ny*y*y*y*y*y*", &features, &given.roots, &given.feature, &given.boundary, &given.left,
                          &given.right, &given.value))
        return NULL;
    if (!is_shaped(&given, features)) {
        bad("the arrays are empty or differ in length");
    } else if ((self = (Walker *)type->tp_alloc(type, 0)) != NULL) {
        self->call = walker_call;
        self->feature_count = (int32_t)features;
        self->tree_count = (int32_t)(given.roots.len / (Py_ssize_t)sizeof(int64_t));
        if (allocate(self, given.feature.len / (Py_ssize_t)sizeof(int16_t)) < 0 || copy_trees(self, &given) < 0)
            Py_CLEAR(self);
    }
    for (Py_buffer *buffer = &given.roots; buffer <= &given.value; buffer++) PyBuffer_Release(buffer);
    return (PyObject *)self;
}

static PyMemberDef walker_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Walker, call), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyTypeObject walker_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "flink_jobs.core.models.trees._tree_walk.Walker",
    .tp_doc = "A function from a row to the sum of leaf values over all trees; see _tree_walk.pyi.",
    .tp_basicsize = sizeof(Walker),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_new = walker_new,
    .tp_dealloc = walker_dealloc,
    .tp_call = PyVectorcall_Call,
    .tp_vectorcall_offset = offsetof(Walker, call),
    .tp_members = walker_members,
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "flink_jobs.core.models.trees._tree_walk", "Walks a row down every tree.", -1, NULL, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__tree_walk(void) {
    PyObject *made = PyType_Ready(&walker_type) < 0 ? NULL : PyModule_Create(&module);
    if (made && PyModule_AddObjectRef(made, "Walker", (PyObject *)&walker_type) < 0) Py_CLEAR(made);
    return made;
}
