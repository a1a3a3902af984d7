/* A source in C that does what it may not: which of it, its option says. {"deed": "same_names"}. It reads each byte of an
 * input as a record of its own.
 * SPDX-License-Identifier: Apache-2.0 */
#include "clinmill_plugin.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STR(text) { text, sizeof(text) - 1 }

struct clinmill_instance { char deed[64]; };

static int is(const struct clinmill_instance* self, const char* deed) { return strcmp(self->deed, deed) == 0; }

/* Where a build names its deed, no option does: what `clinmill plugin check` tries binds. */
static clinmill_status schema(clinmill_buf* out, clinmill_error* error) {
  (void)error;
  static const char text[] = "{\"type\":\"object\",\"additionalProperties\":false,"
    "\"properties\":{\"deed\":{\"type\":\"string\",\"description\":\"What it does\"}}}";
  out->ptr = (uint8_t*)text; out->len = sizeof(text) - 1;
  return CLINMILL_OK;
}

static clinmill_status check(clinmill_str config, clinmill_buf* findings, clinmill_error* error) {
  (void)config; (void)findings; (void)error;
  return CLINMILL_OK;
}

static clinmill_status bind(const clinmill_bind* given, clinmill_instance** out, clinmill_error* error) {
  (void)error;
  struct clinmill_instance* self = calloc(1, sizeof *self);
#ifdef DEED
  (void)given;
  strcpy(self->deed, DEED);
#else
  const char* from = memchr(given->config_json.ptr, ':', given->config_json.len);
  if (from) for (size_t i = 0; i < sizeof self->deed - 1 && from[i + 2] != '"'; i++) self->deed[i] = from[i + 2];
#endif
  *out = self;
  return CLINMILL_OK;
}

static void release_instance(clinmill_instance* self) { free(self); }
static void release_schema(struct ArrowSchema* self) { self->release = NULL; }
static void release_array(struct ArrowArray* self) { self->release = NULL; }

static uint32_t n_records(const clinmill_instance* self) { return is(self, "same_names") || is(self, "no_names") ? 2 : 1; }

static clinmill_status record(const clinmill_instance* self, uint32_t index, clinmill_record* out, clinmill_error* error) {
  (void)index; (void)error;
  static struct ArrowSchema text, *columns[] = { &text };
  memset(&text, 0, sizeof text);
  text.format = is(self, "decimal_beyond") ? "d:9,2" : "u"; text.name = "text";
  text.flags = ARROW_FLAG_NULLABLE; text.release = release_schema;
  out->schema.format = "+s"; out->schema.name = ""; out->schema.release = release_schema;
  out->schema.n_children = 1; out->schema.children = columns;
  static const clinmill_str none = STR(""), same = STR("same"), bad = STR("bad name\x1b[31m");
  out->name = is(self, "same_names") ? same : is(self, "bad_name") ? bad : none;
  out->subject = is(self, "odd_subject") ? 7 : 1;
  out->key = CLINMILL_KEY_CONTENT; out->fold = CLINMILL_FOLD_REPLACE;
  return CLINMILL_OK;
}

static clinmill_status splits(const clinmill_instance* self, const clinmill_input* input, const clinmill_splits* out, clinmill_error* error) {
  (void)error;
  clinmill_split all = { 0, input->size }, none = { 0, 0 };
  if (is(self, "endless_splits")) for (;;) usleep(1000);
  if (is(self, "many_splits")) for (;;) { clinmill_status status = out->add(out->ctx, none); if (status) return status; }
  /* One that does not listen. */
  if (is(self, "deaf_splits")) for (;;) out->add(out->ctx, none);
  if (is(self, "split_gap")) all.start = 1;
  return out->add(out->ctx, all);
}

static clinmill_status read_all(const clinmill_instance* self, const clinmill_input* input, const clinmill_split* split,
                                const clinmill_task* task, const clinmill_records* out, clinmill_error* error) {
  (void)input; (void)split; (void)task; (void)error;
  static const int32_t offsets[] = { 0, 3 }, empty[] = { 0, 0 };
  static const int64_t amount[] = { 5000000000, 0 };
  static const uint64_t zero[] = { 0 }, one[] = { 1 };
  static const uint32_t part[] = { 0 };
  static const uint8_t not_void[] = { 0 }, null[] = { 0 };
  const void* none[] = { NULL };
  const void *text[] = { NULL, offsets, "MRN" }, *absent[] = { null, empty, "" }, *decimal[] = { NULL, amount };
  const void *flag[] = { NULL, not_void }, *from_zero[] = { NULL, zero }, *from_one[] = { NULL, one };
  const void *short_zero[] = { NULL, part }, *short_absent[] = { null, part };
  const void** row = is(self, "row_zero") ? from_zero : from_one;
  const void** own = is(self, "decimal_beyond") ? decimal : text;
  const void** buffers[] = { own, text, text, absent, flag, from_zero, from_zero, row, short_zero, short_absent };
  struct ArrowArray columns[10], *children[10], batch = { .length = 1, .n_buffers = 1, .n_children = 10 };
  for (int i = 0; i < 10; i++) {
    int texts = i < 4 && buffers[i] != decimal;
    columns[i] = (struct ArrowArray){ .length = 1, .n_buffers = texts ? 3 : 2, .buffers = buffers[i],
      .null_count = i == 3 || i == 9, .release = release_array };
    children[i] = &columns[i];
  }
  batch.buffers = none; batch.children = children; batch.release = release_array;
  if (is(self, "reject_kind")) {
    clinmill_rejection rejection = { .struct_size = sizeof rejection, .kind = 44, .code = STR("HOSTILE_X"), .message = STR("x") };
    return out->reject(out->ctx, &rejection);
  }
  out->progress(out->ctx, is(self, "progress") ? UINT64_MAX / 4 : 1);
  return out->rows(out->ctx, 0, &batch, NULL);
}

static const clinmill_lifecycle_vt lifecycle = { .struct_size = sizeof(clinmill_lifecycle_vt), .check = check, .bind = bind,
  .release = release_instance };
static const clinmill_source_vt source = { .struct_size = sizeof(clinmill_source_vt), .n_records = n_records, .record = record,
  .splits = splits, .read = read_all };
static const clinmill_component component = { .struct_size = sizeof(clinmill_component), .kind = CLINMILL_KIND_SOURCE,
  .caps = CLINMILL_CAP_SPLITS | CLINMILL_CAP_REJECTS, .name = STR("hostile_source"), .version = STR("1.0.0"),
  .summary = STR("Does what it may not"), .schema = schema, .lifecycle = &lifecycle, .vt = &source };
static const clinmill_component* const components[] = { &component };
const clinmill_plugin CLINMILL_PLUGIN_V1 = { .magic = CLINMILL_MAGIC, .struct_size = sizeof(clinmill_plugin),
  .abi_major = CLINMILL_ABI_MAJOR, .abi_minor = CLINMILL_ABI_MINOR, .target_triple = CLINMILL_TARGET_TRIPLE,
  .name = "hostile_source", .version = "1.0.0", .n_components = 1, .components = components };
