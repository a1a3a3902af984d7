/* A transform in C that does what it may not: which of it, its option says. {"deed": "null_instance"}.
 * SPDX-License-Identifier: Apache-2.0 */
#include "clinmill_plugin.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef MAGIC
#define MAGIC CLINMILL_MAGIC
#endif
#ifndef MAJOR
#define MAJOR CLINMILL_ABI_MAJOR
#endif
#ifndef NAME
#define NAME "hostile_c"
#endif
#ifndef NO_BIND
#define NO_BIND 0
#endif
#ifndef CAPS
#define CAPS CLINMILL_CAP_ROW_WISE
#endif
#ifndef DEED
#define DEED "{\"type\":\"string\"}"
#endif
#define STR(text) { text, sizeof(text) - 1 }

struct clinmill_instance { char deed[64]; };
struct clinmill_xform { const struct clinmill_instance* of; };
static const struct clinmill_xform* cancelled_run;

static int is(const struct clinmill_instance* self, const char* deed) { return strcmp(self->deed, deed) == 0; }

static clinmill_status schema(clinmill_buf* out, clinmill_error* error) {
  (void)error;
  static const char text[] = "{\"type\":\"object\",\"properties\":{\"deed\":" DEED "},"
    "\"x-codes\":{\"HOSTILE_KNOWN\":\"the code is known\"}}";
  out->ptr = (uint8_t*)text; out->len = sizeof(text) - 1;
  return CLINMILL_OK;
}

static void endless_buf(clinmill_buf* self) { (void)self; for (;;) usleep(1000); }
static void exit_buf(clinmill_buf* self) { (void)self; pthread_exit(NULL); }
static void endless_error(clinmill_error* self) { (void)self; for (;;) usleep(1000); }
static void exit_error(clinmill_error* self) { (void)self; pthread_exit(NULL); }

static clinmill_status check(clinmill_str config, clinmill_buf* findings, clinmill_error* error) {
  (void)error;
  if (config.len > 8 && memcmp(config.ptr, "{\"deed\":\"exit_in_check\"", 22) == 0) pthread_exit(NULL);
  if (config.len > 8 && memcmp(config.ptr, "{\"deed\":\"not_json\"", 17) == 0) { findings->ptr = (uint8_t*)"nonsense"; findings->len = 8; }
  if (config.len > 8 && memcmp(config.ptr, "{\"deed\":\"many_findings\"", 23) == 0) {
    static char all[200000];
    size_t n = 0;
    for (int i = 0; i < 2000; i++) n += (size_t)snprintf(all + n, sizeof all - n, "%c{\"code\":\"HOSTILE_X\",\"pointer\":\"/deed\",\"message\":\"%d\"}", i ? ',' : '[', i);
    all[n++] = ']';
    findings->ptr = (uint8_t*)all; findings->len = n;
  }
  if (config.len > 8 && memcmp(config.ptr, "{\"deed\":\"endless_buf\"", 21) == 0) findings->release = endless_buf;
  if (config.len > 8 && memcmp(config.ptr, "{\"deed\":\"exit_buf\"", 18) == 0) findings->release = exit_buf;
  return CLINMILL_OK;
}

static clinmill_status bind(const clinmill_bind* given, clinmill_instance** out, clinmill_error* error) {
  (void)error;
  struct clinmill_instance* self = calloc(1, sizeof *self);
  const char* from = memchr(given->config_json.ptr, ':', given->config_json.len);
  if (from) for (size_t i = 0; i < sizeof self->deed - 1 && from[i + 2] != '"'; i++) self->deed[i] = from[i + 2];
  if (is(self, "release_input")) {
    struct ArrowSchema* column = given->input->children[0];
    struct ArrowSchema copy = *column;
    column->release(column);
    copy.release(&copy);
  }
  if (is(self, "null_instance")) { free(self); *out = NULL; return CLINMILL_OK; }
  if (is(self, "silent")) { free(self); return CLINMILL_INVALID_CONFIG; }
  if (is(self, "unknown_status")) { free(self); return 99; }
  *out = self;
  return CLINMILL_OK;
}

static void release_instance(clinmill_instance* self) {
  if (is(self, "endless_release")) for (;;) usleep(1000);
  if (is(self, "crash_release")) { sleep(2); *(volatile int*)8 = 1; }
  free(self);
}

static void release_schema(struct ArrowSchema* self) { self->release = NULL; }
static void endless_schema(struct ArrowSchema* self) { (void)self; for (;;) usleep(1000); }
static void exit_schema(struct ArrowSchema* self) { (void)self; pthread_exit(NULL); }
static struct ArrowSchema name_again, name_column, *columns[] = { &name_column };
/* Columns that share their columns: a million in all, from a thousand pointers. */
static struct ArrowSchema shared_leaf, shared_struct, *shared_leaves[1000], *shared_structs[1000];

static void share(struct ArrowSchema* out) {
  memset(&shared_leaf, 0, sizeof shared_leaf); memset(&shared_struct, 0, sizeof shared_struct);
  for (int i = 0; i < 1000; i++) { shared_leaves[i] = &shared_leaf; shared_structs[i] = &shared_struct; }
  shared_leaf.format = "c"; shared_leaf.name = "x"; shared_leaf.release = release_schema;
  shared_struct.format = "+s"; shared_struct.name = "x"; shared_struct.release = release_schema;
  shared_struct.n_children = 1000; shared_struct.children = shared_leaves;
  out->n_children = 1000; out->children = shared_structs;
}

static clinmill_status output(const clinmill_instance* self, struct ArrowSchema* out, clinmill_error* error) {
  (void)error;
  memset(&name_column, 0, sizeof name_column);
  name_column.format = is(self, "wrong_format") ? "?" : "u"; name_column.name = "name";
  name_column.flags = ARROW_FLAG_NULLABLE; name_column.release = release_schema;
  memset(out, 0, sizeof *out);
  if (is(self, "released_schema")) return CLINMILL_OK;
  out->format = "+s"; out->n_children = 1; out->children = columns; out->release = release_schema;
  if (is(self, "shared_children")) share(out);
  if (is(self, "name_twice")) { static struct ArrowSchema* twice[] = { &name_column, &name_again }; name_again = name_column; out->n_children = 2; out->children = twice; }
  if (is(self, "no_name")) name_column.name = "";
  if (is(self, "control_name")) name_column.name = "na\x1b[31mme";
  if (is(self, "decimal_beyond")) name_column.format = "d:9,2";
  if (is(self, "decimal_of_no_scale")) name_column.format = "d:2,3";
  if (is(self, "unknown_zone")) name_column.format = "tsu:Not/AZone\x1b[31m";
  if (is(self, "short_child")) {
    static struct ArrowSchema* inner[] = { &name_again };
    name_again = name_column; name_column.format = "+s"; name_column.n_children = 1; name_column.children = inner;
  } else { name_column.n_children = 0; }
  if (is(self, "endless_schema")) out->release = endless_schema;
  if (is(self, "exit_schema")) out->release = exit_schema;
  return CLINMILL_OK;
}

static clinmill_status open_run(const clinmill_instance* self, const clinmill_task* task, clinmill_xform** out, clinmill_error* error) {
  (void)task; (void)error;
  *out = NULL;
  if (is(self, "null_run")) return CLINMILL_OK;
  *out = malloc(sizeof **out);
  (*out)->of = self;
  return CLINMILL_OK;
}

static void release_nothing(struct ArrowArray* self) { self->release = NULL; }
static void endless_array(struct ArrowArray* self) { (void)self; for (;;) usleep(1000); }
static void exit_array(struct ArrowArray* self) { (void)self; pthread_exit(NULL); }

/* What it says of rows, and does to the streams of the process. */
static clinmill_status fail(const char* code, clinmill_error* error) {
  static const clinmill_str message = STR("王小明 has a secret"), pointer = STR("/deed");
  error->code.ptr = code; error->code.len = strlen(code);
  error->message = message; error->config_pointer = pointer;
  return CLINMILL_INVALID_DATA;
}

static void to_streams(const struct clinmill_instance* of) {
  static const char text[] = "王小明\n";
  for (int fd = 1; fd <= 2; fd++) {
    if (is(of, "write_out") && write(fd, text, sizeof text - 1) < 0) abort();
    if (is(of, "close_out")) close(fd);
    if (is(of, "replace_out")) { int file = open("/dev/null", O_WRONLY); dup2(file, fd); close(file); }
  }
  if (is(of, "close_kept")) for (int fd = 200; fd < 210; fd++) close(fd);
  if (is(of, "close_all")) for (int fd = 3; fd < 4096; fd++) close(fd);
}

static void count_names(const struct clinmill_instance* of, const clinmill_emit* emit) {
  char name[32];
  if (is(of, "count_value")) { static const clinmill_str value = STR("王小明"); emit->count(emit->ctx, value, 1); }
  if (is(of, "count_many")) for (int n = 0; n < 1000; n++) {
    clinmill_str text = { name, (size_t)snprintf(name, sizeof name, "n%d", n) };
    emit->count(emit->ctx, text, 1);
  }
}

/* Three rows of one text column, each a batch of its own that is a slice of the same buffers. What "owner" says owns them all. */
static clinmill_status slices(const clinmill_emit* emit, void* owner) {
  static char text[400003];
  static const int32_t offsets[] = { 0, 400001, 400002, 400003 }, one[] = { 0, 1 };
  static const uint64_t rows[] = { 0, 1, 2 };
  static const void *none[] = { NULL }, *texts[] = { NULL, offsets, text }, *list[] = { NULL, one }, *from[3][2];
  static struct ArrowArray column[3], in[3], row[3], *columns[3][2], *item[3];
  memset(text, 'x', sizeof text);
  for (int i = 0; i < 3; i++) {
    from[i][1] = rows + i; item[i] = row + i; columns[i][0] = column + i; columns[i][1] = in + i;
    column[i] = (struct ArrowArray){ .length = 1, .offset = i, .n_buffers = 3, .buffers = texts, .release = release_nothing };
    row[i] = (struct ArrowArray){ .length = 1, .n_buffers = 2, .buffers = from[i], .release = release_nothing };
    in[i] = (struct ArrowArray){ .length = 1, .n_buffers = 2, .buffers = list, .n_children = 1, .children = item + i, .release = release_nothing };
    struct ArrowArray batch = { .length = 1, .n_buffers = 1, .buffers = none, .n_children = 2, .children = columns[i],
      .release = release_nothing, .private_data = owner };
    clinmill_status status = emit->emit(emit->ctx, CLINMILL_PORT_MAIN, &batch, NULL);
    if (status) return status;
  }
  return CLINMILL_OK;
}

static void free_owner(struct ArrowArray* self) { free(self->private_data); self->release = NULL; }

/* One array of two copies of its struct. Where the host leaves the second to us, it is freed a second time. */
static clinmill_status copy_twice(const clinmill_emit* emit) {
  static const int32_t offsets[] = { 0, 1, 2, 3 };
  static const void *none[] = { NULL }, *texts[] = { NULL, offsets, "abc" };
  static struct ArrowArray column, *columns[] = { &column };
  column = (struct ArrowArray){ .length = 3, .n_buffers = 3, .buffers = texts, .release = release_nothing };
  struct ArrowArray batch = { .length = 3, .n_buffers = 1, .buffers = none, .n_children = 1, .children = columns,
    .release = free_owner, .private_data = malloc(1) }, copy = batch;
  emit->emit(emit->ctx, CLINMILL_PORT_MAIN, &batch, NULL);
  clinmill_status status = emit->emit(emit->ctx, CLINMILL_PORT_MAIN, &copy, NULL);
  if (copy.release) copy.release(&copy);
  return status;
}

static clinmill_status process(clinmill_xform* self, struct ArrowArray* moved, const clinmill_emit* emit, clinmill_error* error) {
  const struct clinmill_instance* of = self->of;
  if (is(of, "endless_error")) { error->release = endless_error; return CLINMILL_INTERNAL; }
  if (is(of, "exit_error")) { error->release = exit_error; return CLINMILL_INTERNAL; }
  if (is(of, "strange_code")) { static const clinmill_str code = STR("\x1b[2J"); error->code = code; moved->release(moved); return CLINMILL_INTERNAL; }
  if (is(of, "cancelled")) { moved->release(moved); return CLINMILL_CANCELLED; }
  if (is(of, "say_panic")) { moved->release(moved); return CLINMILL_PANIC; }
  if (is(of, "say_exhausted")) { moved->release(moved); return CLINMILL_RESOURCE_EXHAUSTED; }
  if (is(of, "swallow")) { moved->release(moved); return CLINMILL_OK; }
  if (is(of, "say_value") || is(of, "say_known")) { moved->release(moved); return fail(is(of, "say_known") ? "HOSTILE_KNOWN" : "HOSTILE_VALUE", error); }
  to_streams(of);
  count_names(of, emit);
  if (is(of, "abort")) abort();
  if (is(of, "crash")) *(volatile int*)8 = 1;
  if (is(of, "exit_zero")) _exit(0);
  if (is(of, "exit_93")) _exit(93);
  if (is(of, "clear_env")) clearenv();
  if (is(of, "change_folder") && chdir("/") != 0) return CLINMILL_INTERNAL;
  if (is(of, "fork") && fork() == 0) for (;;) pause();
  if (is(of, "stop")) raise(SIGSTOP);
  for (int i = 0; i < 3; i++) {
    int signals[] = { SIGTTIN, SIGTTOU, SIGTSTP };
    if (is(of, "stop_as_terminal")) signal(signals[i], SIG_DFL);
    if (is(of, "stop_as_terminal") || is(of, "terminal")) raise(signals[i]);
  }
  if (is(of, "thread_exit")) pthread_exit(NULL);
  if (is(of, "endless") || is(of, "endless_cancel")) for (;;) usleep(1000);
  if (is(of, "until_cancel")) {
    while (__atomic_load_n(&cancelled_run, __ATOMIC_ACQUIRE) != self) usleep(1000);
    moved->release(moved);
    return CLINMILL_CANCELLED;
  }
  if (is(of, "release_twice")) {
    struct ArrowArray copy = *moved;
    moved->release(moved);
    copy.release(&copy);
    return CLINMILL_OK;
  }
  if (is(of, "release_column_twice")) {
    struct ArrowArray column = *moved->children[0], copy = column;
    moved->children[0]->release = NULL;
    moved->release(moved);
    column.release(&column);
    copy.release(&copy);
    return CLINMILL_OK;
  }
  if (is(of, "null_array")) { moved->release(moved); return emit->emit(emit->ctx, CLINMILL_PORT_MAIN, NULL, NULL); }
  if (is(of, "no_context")) { emit->emit(NULL, CLINMILL_PORT_MAIN, moved, NULL); return CLINMILL_OK; }
  if (is(of, "count_without")) { static const clinmill_str name = STR("rows"); emit->count(NULL, name, 1); }
  if (is(of, "wrong_port")) return emit->emit(emit->ctx, 7, moved, NULL);
  if (is(of, "emit_twice")) { emit->emit(emit->ctx, CLINMILL_PORT_MAIN, moved, NULL); return emit->emit(emit->ctx, CLINMILL_PORT_MAIN, moved, NULL); }
  moved->release(moved);
  static char owner;
  if (is(of, "slices") || is(of, "slices_of_one")) return slices(emit, is(of, "slices") ? NULL : &owner);
  if (is(of, "copy_twice")) return copy_twice(emit);
  static int32_t offsets[] = { 0, 1, 2, 3 };
  static int32_t backwards[] = { 0, 2, 1, 3 };
  static int32_t negative[] = { -4, -3, -2, -1 };
  static const void* buffers[] = { NULL, offsets, "abc" };
  buffers[1] = is(of, "offsets_backwards") ? backwards : is(of, "offsets_negative") ? negative : offsets;
  buffers[2] = is(of, "not_utf8") ? "\xff\xfe\xfd" : is(of, "null_buffer") ? NULL : "abc";
  struct ArrowArray column = { 0 };
  column.length = is(of, "column_length") ? 1 : is(of, "negative_length") ? -2 : is(of, "huge_length") ? INT64_MAX : is(of, "fewer_rows") ? 2 : 3;
  column.n_buffers = is(of, "too_few_buffers") ? 2 : 3; column.buffers = is(of, "null_buffers") ? NULL : buffers;
  column.null_count = is(of, "nulls_without_validity") ? 1 : 0;
  column.release = release_nothing;
  struct ArrowArray* children[] = { is(of, "null_column") ? NULL : &column, &column, &column };
  struct ArrowArray batch = { 0 };
  const void* none[] = { NULL };
  batch.length = is(of, "huge_batch") ? INT64_MAX : is(of, "fewer_rows") ? 2 : 3; batch.n_buffers = 1; batch.buffers = none;
  batch.n_children = is(of, "too_many_columns") ? 3 : 1; batch.children = is(of, "null_columns") ? NULL : children;
  static const int64_t amounts[] = { 100, 0, 5000000000, 0, 100, 0 };
  static const void* decimals[] = { NULL, amounts };
  if (is(of, "decimal_beyond")) { column.n_buffers = 2; column.buffers = decimals; }
  static const uint8_t no_row = 0;
  if (is(of, "batch_nulls")) { none[0] = &no_row; batch.null_count = -1; }
  struct ArrowArray inner = column, *inners[] = { &inner };
  if (is(of, "short_child")) { column.n_buffers = 1; column.buffers = none; column.n_children = 1; column.children = inners; column.offset = 1; }
  batch.release = is(of, "released_batch") ? NULL : is(of, "endless_array") ? endless_array : is(of, "exit_array") ? exit_array : release_nothing;
  return emit->emit(emit->ctx, CLINMILL_PORT_MAIN, &batch, NULL);
}

static clinmill_status finish(clinmill_xform* self, const clinmill_emit* emit, clinmill_error* error) {
  (void)error;
  if (is(self->of, "exit_in_finish")) pthread_exit(NULL);
  if (is(self->of, "rows_in_finish")) {
    static const int32_t offsets[] = { 0, 1 };
    static const void *none[] = { NULL }, *buffers[] = { NULL, offsets, "a" };
    struct ArrowArray column = { .length = 1, .n_buffers = 3, .buffers = buffers, .release = release_nothing }, *children[] = { &column };
    struct ArrowArray batch = { .length = 1, .n_buffers = 1, .buffers = none, .n_children = 1, .children = children, .release = release_nothing };
    return emit->emit(emit->ctx, CLINMILL_PORT_MAIN, &batch, NULL);
  }
  return CLINMILL_OK;
}

static void release_run(clinmill_xform* self) {
  if (is(self->of, "endless_run")) for (;;) usleep(1000);
  free(self);
}
static void cancel(clinmill_xform* self) {
  if (is(self->of, "endless_cancel")) for (;;) usleep(1000);
  __atomic_store_n(&cancelled_run, self, __ATOMIC_RELEASE);
}

static const clinmill_lifecycle_vt lifecycle = { .struct_size = sizeof(clinmill_lifecycle_vt), .check = check,
  .bind = NO_BIND ? NULL : bind, .release = release_instance };
static const clinmill_transform_vt transform = { .struct_size = sizeof(clinmill_transform_vt), .output = output, .open = open_run,
  .process = process, .finish = finish, .release = release_run, .cancel = cancel };
static const clinmill_component component = { .struct_size = sizeof(clinmill_component), .kind = CLINMILL_KIND_TRANSFORM,
  .caps = CAPS, .name = STR(NAME), .version = STR("1.0.0"), .summary = STR("Does what it may not"),
  .schema = schema, .lifecycle = &lifecycle, .vt = &transform };
static const clinmill_component* const components[] = { &component };

#ifdef LOADED_FILE
__attribute__((constructor)) static void loaded(void) {
  int file = open(LOADED_FILE, O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (write(file, "x", 1) < 0) abort();
  close(file);
}
static clinmill_status init(const clinmill_host* host, clinmill_error* error) { (void)host; (void)error; return CLINMILL_UNSUPPORTED; }
#define INIT init
#else
#define INIT NULL
#endif
#ifdef HANGS
__attribute__((constructor)) static void hang(void) { for (;;) usleep(1000); }
#endif
#ifdef LINGERS
__attribute__((destructor)) static void linger(void) { for (;;) usleep(1000); }
#endif
#ifdef LEAVES
__attribute__((constructor)) static void leave(void) { _exit(0); }
#endif

#ifndef NO_SYMBOL
const clinmill_plugin CLINMILL_PLUGIN_V1 = { .magic = MAGIC, .struct_size = sizeof(clinmill_plugin), .abi_major = MAJOR,
  .abi_minor = CLINMILL_ABI_MINOR, .target_triple = CLINMILL_TARGET_TRIPLE, .name = NAME, .version = "1.0.0",
  .init = INIT, .n_components = 1, .components = components };
#else
const clinmill_component* const* const something_else = components;
#endif
