#include "CSimdjson.h"

#include <cstring>
#include <memory>
#include <new>
#include <simdjson.h>

using simdjson::dom::element_type;

// An object of arrays is two deep. A deeper value is refused later, with a better message.
static constexpr size_t max_depth = 16;

struct csimdjson_parser {
  simdjson::dom::parser parser;
  simdjson::dom::document document;
  simdjson::dom::object object;
  simdjson::dom::object::iterator next;
  simdjson::dom::object::iterator end;
  simdjson::dom::element value;
  size_t size = 0;

  simdjson::error_code ensure_capacity(size_t length) {
    // For a series of small messages, room that grows by doubling; for one large message, what it needs.
    size_t capacity = size_t{1} << 14;
    while (capacity < length && capacity < size_t{1} << 17) capacity *= 2;
    if (capacity < length) capacity = length;
    if (parser.capacity() < length) {
      if (auto error = parser.allocate(capacity, max_depth)) return error;
    }
    return document.capacity() < length ? document.allocate(capacity) : simdjson::SUCCESS;
  }
};

namespace {

thread_local std::unique_ptr<csimdjson_parser> thread_parser;

const char *noun(element_type type) {
  switch (type) {
    case element_type::ARRAY: return "an array";
    case element_type::OBJECT: return "an object";
    case element_type::INT64:
    case element_type::UINT64:
    case element_type::DOUBLE: return "a number";
    case element_type::STRING: return "a string";
    case element_type::BOOL: return "a boolean";
    case element_type::NULL_VALUE: return "null";
  }
  return "something else";
}

bool ends_in_newline(std::string_view text) { return !text.empty() && text.back() == '\n'; }

// Joins the strings of the array by newlines; false at the first element that is not a string.
bool measure(simdjson::dom::array lines, csimdjson_app *app) {
  size_t size = 0;
  int64_t count = 0;
  std::string_view last;
  for (simdjson::dom::element line : lines) {
    if (!line.is_string()) {
      app->found = noun(line.type());
      app->element = count;
      return false;
    }
    last = line.get_string().value_unsafe();
    size += last.size() + (count == 0 ? 0 : 1);
    count++;
  }
  // The joined text ends in a newline also when its last line is empty.
  const bool ended = last.empty() ? count > 1 : ends_in_newline(last);
  app->size = size == 0 || ended ? size : size + 1;
  return true;
}

}  // namespace

csimdjson_parser *csimdjson_thread_parser(void) {
  if (!thread_parser) thread_parser.reset(new (std::nothrow) csimdjson_parser());
  return thread_parser.get();
}

csimdjson_parser *csimdjson_new_parser(void) { return new (std::nothrow) csimdjson_parser(); }

void csimdjson_free_parser(csimdjson_parser *parser) { delete parser; }

csimdjson_status csimdjson_parse(
    csimdjson_parser *parser, const uint8_t *bytes, size_t length, size_t readable, const char **error) {
  try {
    auto code = parser->ensure_capacity(length);
    if (code == simdjson::SUCCESS) {
      const bool copies = readable < length + simdjson::SIMDJSON_PADDING;
      code = parser->parser.parse_into_document(parser->document, bytes, length, copies).get(parser->object);
    }
    if (code == simdjson::SUCCESS) {
      parser->next = parser->object.begin();
      parser->end = parser->object.end();
      return csimdjson_ok;
    }
    *error = simdjson::error_message(code);
    if (code == simdjson::UTF8_ERROR) return csimdjson_invalid_utf8;
    return code == simdjson::MEMALLOC || code == simdjson::CAPACITY ? csimdjson_no_memory : csimdjson_malformed;
  } catch (...) {
    *error = "the parser failed";
    return csimdjson_malformed;
  }
}

size_t csimdjson_count(const csimdjson_parser *parser) { return parser->object.size(); }

bool csimdjson_next(csimdjson_parser *parser, csimdjson_app *app) {
  if (!(parser->next != parser->end)) return false;
  const std::string_view name = parser->next.key();
  parser->value = parser->next.value();
  ++parser->next;

  *app = csimdjson_app{name.data(), name.size(), csimdjson_value_wrong, 0, nullptr, -1};
  std::string_view text;
  simdjson::dom::array lines;
  if (parser->value.get(text) == simdjson::SUCCESS) {
    app->value = csimdjson_value_string;
    app->size = text.empty() || ends_in_newline(text) ? text.size() : text.size() + 1;
  } else if (parser->value.get(lines) == simdjson::SUCCESS) {
    if (measure(lines, app)) app->value = csimdjson_value_array;
  } else {
    app->found = noun(parser->value.type());
  }
  parser->size = app->size;
  return true;
}

void csimdjson_copy(const csimdjson_parser *parser, uint8_t *destination) {
  uint8_t *const end = destination + parser->size;
  std::string_view text;
  simdjson::dom::array lines;
  if (parser->value.get(text) == simdjson::SUCCESS) {
    std::memcpy(destination, text.data(), text.size());
    destination += text.size();
  } else if (parser->value.get(lines) == simdjson::SUCCESS) {
    bool first = true;
    for (simdjson::dom::element line : lines) {
      if (!first) *destination++ = '\n';
      first = false;
      text = line.get_string().value_unsafe();
      std::memcpy(destination, text.data(), text.size());
      destination += text.size();
    }
  }
  if (destination < end) *destination = '\n';
}

bool csimdjson_validate_utf8(const uint8_t *bytes, size_t length) {
  return simdjson::validate_utf8(reinterpret_cast<const char *>(bytes), length);
}
