/* A transform in C: adds the column "<column>_bytes" with the length of a text. It shows all that a plugin needs, and
 * nothing but the header. Options: {"column": "name"}.
 * SPDX-License-Identifier: Apache-2.0 */
#include "clinmill_plugin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STR(text) { text, sizeof(text) - 1 }
static clinmill_str str(const char* text) { clinmill_str s = { text, strlen(text) }; return s; }

static clinmill_status fail(clinmill_error* error, clinmill_status status, const char* code, const char* message, const char* pointer) {
  error->code = str(code);                 /* constants: there is nothing to release */
  error->message = str(message);
  if (pointer) error->config_pointer = str(pointer);
  return status;
}

/* ---- the instance: immutable after bind ---- */
struct clinmill_instance { int64_t n_columns, column; char** formats; char** names; int64_t* flags; };
struct clinmill_xform { const struct clinmill_instance* of; const clinmill_task* task; };

static char* copy(const char* text) {
  size_t size = strlen(text ? text : "") + 1;
  char* out = malloc(size);
  if (out) memcpy(out, text ? text : "", size);
  return out;
}

static void release_instance(clinmill_instance* self) {
  for (int64_t i = 0; i < self->n_columns + 1; i++) { free(self->formats[i]); free(self->names[i]); }
  free(self->formats); free(self->names); free(self->flags); free(self);
}

static clinmill_status schema(clinmill_buf* out, clinmill_error* error) {
  (void)error;
  static const char text[] = "{\"type\":\"object\",\"additionalProperties\":false,\"required\":[\"column\"],\"properties\":"
                             "{\"column\":{\"type\":\"string\",\"description\":\"The column of text.\"}}}";
  out->ptr = (uint8_t*)text;               /* static: release stays NULL */
  out->len = sizeof(text) - 1;
  return CLINMILL_OK;
}

static clinmill_status check(clinmill_str config, clinmill_buf* findings, clinmill_error* error) {
  (void)config; (void)findings; (void)error;
  return CLINMILL_OK;
}

/* The value of "column": the schema was checked before, so the first text after the first colon is it. */
static int column_is(clinmill_str config, const char* name) {
  const char* colon = memchr(config.ptr, ':', config.len);
  size_t left = colon ? config.len - (size_t)(colon - config.ptr) : 0, n = strlen(name);
  const char* quote = colon ? memchr(colon, '"', left) : NULL;
  left = quote ? config.len - (size_t)(quote - config.ptr) : 0;
  return left >= n + 2 && memcmp(quote + 1, name, n) == 0 && quote[n + 1] == '"';
}

static clinmill_status bind(const clinmill_bind* given, clinmill_instance** out, clinmill_error* error) {
  const struct ArrowSchema* in = given->input;
  struct clinmill_instance* self = calloc(1, sizeof *self);
  self->n_columns = in->n_children;
  self->column = -1;
  self->formats = calloc((size_t)in->n_children + 1, sizeof(char*));
  self->names = calloc((size_t)in->n_children + 1, sizeof(char*));
  self->flags = calloc((size_t)in->n_children + 1, sizeof(int64_t));
  for (int64_t i = 0; i < in->n_children; i++) {
    self->formats[i] = copy(in->children[i]->format);
    self->names[i] = copy(in->children[i]->name);
    self->flags[i] = in->children[i]->flags;
    if (strcmp(self->formats[i], "u") == 0 && column_is(given->config_json, self->names[i])) self->column = i;
  }
  self->formats[in->n_children] = copy("l");
  self->flags[in->n_children] = ARROW_FLAG_NULLABLE;
  if (self->column < 0) {
    release_instance(self);
    return fail(error, CLINMILL_INVALID_CONFIG, "LENGTH_COLUMN", "there is no such column of text", "/column");
  }
  size_t size = strlen(self->names[self->column]) + sizeof "_bytes";
  self->names[in->n_children] = malloc(size);
  snprintf(self->names[in->n_children], size, "%s_bytes", self->names[self->column]);
  *out = self;
  return CLINMILL_OK;
}

/* ---- the schema of the output: the input's columns and one more ---- */
static void release_schema(struct ArrowSchema* self) {
  for (int64_t i = 0; i < self->n_children; i++) {
    if (self->children[i]->release) self->children[i]->release(self->children[i]);
    free(self->children[i]);
  }
  free(self->children); free((char*)self->format); free((char*)self->name);
  self->release = NULL;
}

static void make_schema(struct ArrowSchema* out, const char* format, const char* name, int64_t flags) {
  memset(out, 0, sizeof *out);
  out->format = copy(format); out->name = copy(name); out->flags = flags; out->release = release_schema;
}

static clinmill_status output(const clinmill_instance* self, struct ArrowSchema* out, clinmill_error* error) {
  (void)error;
  make_schema(out, "+s", "", 0);
  out->n_children = self->n_columns + 1;
  out->children = calloc((size_t)out->n_children, sizeof(struct ArrowSchema*));
  for (int64_t i = 0; i < out->n_children; i++) {
    out->children[i] = malloc(sizeof(struct ArrowSchema));
    make_schema(out->children[i], self->formats[i], self->names[i], self->flags[i]);
  }
  return CLINMILL_OK;
}

/* ---- a run ---- */
static clinmill_status open_run(const clinmill_instance* self, const clinmill_task* task, clinmill_xform** out, clinmill_error* error) {
  (void)error;
  *out = malloc(sizeof **out);
  (*out)->of = self; (*out)->task = task;
  return CLINMILL_OK;
}

static void release_lengths(struct ArrowArray* self) { free((void*)self->buffers[0]); free((void*)self->buffers[1]); free(self->buffers); self->release = NULL; }

static void release_batch(struct ArrowArray* self) {
  struct ArrowArray* in = self->private_data;
  struct ArrowArray* lengths = self->children[self->n_children - 1];
  if (lengths->release) lengths->release(lengths);
  if (in->release) in->release(in);        /* its columns are ours: they go with it */
  free(lengths); free(self->children); free(self->buffers); free(in);
  self->release = NULL;
}

static clinmill_status process(clinmill_xform* self, struct ArrowArray* moved, const clinmill_emit* emit, clinmill_error* error) {
  if (*self->task->cancelled) { moved->release(moved); return fail(error, CLINMILL_CANCELLED, "CANCELLED", "cancelled", NULL); }
  const struct ArrowArray* text = moved->children[self->of->column];
  size_t rows = (size_t)moved->length;
  int64_t* values = calloc(rows + 1, sizeof(int64_t));
  uint8_t* valid = calloc(rows / 8 + 1, 1);
  const int32_t* offsets = text->buffers[1];
  const uint8_t* there = text->buffers[0];
  int64_t nulls = 0;
  for (size_t i = 0; i < rows; i++) {
    size_t at = i + (size_t)text->offset;
    if (there && !(there[at / 8] >> (at % 8) & 1)) { nulls++; continue; }
    values[i] = offsets[at + 1] - offsets[at];
    valid[i / 8] = (uint8_t)(valid[i / 8] | 1u << (i % 8));
  }
  struct ArrowArray* lengths = calloc(1, sizeof *lengths);
  lengths->length = moved->length; lengths->null_count = nulls; lengths->n_buffers = 2; lengths->release = release_lengths;
  lengths->buffers = calloc(2, sizeof(void*)); lengths->buffers[0] = valid; lengths->buffers[1] = values;
  struct ArrowArray* in = malloc(sizeof *in);
  *in = *moved;                            /* the move */
  moved->release = NULL;
  struct ArrowArray batch = { 0 };
  batch.length = in->length; batch.n_buffers = 1; batch.buffers = calloc(1, sizeof(void*));
  batch.n_children = in->n_children + 1;
  batch.children = calloc((size_t)batch.n_children, sizeof(struct ArrowArray*));
  memcpy(batch.children, in->children, (size_t)in->n_children * sizeof(struct ArrowArray*));
  batch.children[in->n_children] = lengths;
  batch.release = release_batch; batch.private_data = in;
  emit->count(emit->ctx, str("rows"), rows);
  clinmill_status status = emit->emit(emit->ctx, CLINMILL_PORT_MAIN, &batch, NULL);
  return status ? fail(error, status, "HOST_STOPPED", "the host stopped the call", NULL) : CLINMILL_OK;
}

static clinmill_status finish(clinmill_xform* self, const clinmill_emit* emit, clinmill_error* error) {
  (void)self; (void)emit; (void)error;
  return CLINMILL_OK;
}

static void release_run(clinmill_xform* self) { free(self); }

/* ---- the tables ---- */
static const clinmill_lifecycle_vt lifecycle = { .struct_size = sizeof(clinmill_lifecycle_vt), .check = check, .bind = bind, .release = release_instance };
static const clinmill_transform_vt transform = { .struct_size = sizeof(clinmill_transform_vt), .output = output, .open = open_run,
  .process = process, .finish = finish, .release = release_run };
static const clinmill_component component = { .struct_size = sizeof(clinmill_component), .kind = CLINMILL_KIND_TRANSFORM,
  .caps = CLINMILL_CAP_ROW_WISE | CLINMILL_CAP_DETERMINISTIC, .name = STR("text_length"), .version = STR("1.0.0"),
  .summary = STR("Adds the length of a text in bytes"), .schema = schema, .lifecycle = &lifecycle, .vt = &transform };
static const clinmill_component* const components[] = { &component };

const clinmill_plugin CLINMILL_PLUGIN_V1 = { .magic = CLINMILL_MAGIC, .struct_size = sizeof(clinmill_plugin), .abi_major = CLINMILL_ABI_MAJOR,
  .abi_minor = CLINMILL_ABI_MINOR, .target_triple = CLINMILL_TARGET_TRIPLE, .name = "text_length", .version = "1.0.0",
  .n_components = 1, .components = components };
