#include "CCapnp.h"

#include <capnp/any.h>
#include <capnp/serialize.h>
#include <kj/exception.h>
#include <kj/string.h>

namespace {

ccapnp_text text_at(capnp::List<capnp::AnyPointer>::Reader pointers, uint32_t index) {
  if (index >= pointers.size()) return ccapnp_text{nullptr, 0};
  auto pointer = pointers[index];
  if (pointer.isNull()) return ccapnp_text{nullptr, 0};
  auto text = pointer.getAs<capnp::Text>();
  return ccapnp_text{reinterpret_cast<const uint8_t *>(text.begin()), text.size()};
}

void say(char *error, size_t capacity, kj::StringPtr reason) {
  if (capacity == 0) return;
  size_t length = 0;
  for (const char byte : reason) {
    // libcapnp quotes bytes of the message. A NUL among them would end the text, so it is written as \0.
    const bool is_nul = byte == 0;
    if (length + (is_nul ? 2 : 1) >= capacity) break;
    if (is_nul) error[length++] = '\\';
    error[length++] = is_nul ? '0' : byte;
  }
  error[length] = 0;
}

}  // namespace

bool ccapnp_read(const uint8_t *bytes, size_t length, ccapnp_inbound_metrics *message, char *error, size_t error_capacity) {
  try {
    const auto words = kj::arrayPtr(reinterpret_cast<const capnp::word *>(bytes), length / sizeof(capnp::word));
    capnp::ReaderOptions options;
    // Both texts may overlap, so each may count in full, with the far pointers' landing pads.
    options.traversalLimitInWords = 2 * words.size() + 64;
    options.nestingLimit = 4;
    capnp::FlatArrayMessageReader reader(words, options);
    auto pointers = reader.getRoot<capnp::AnyStruct>().getPointerSection();
    message->app_name = text_at(pointers, 0);
    message->data = text_at(pointers, 1);
    return true;
  } catch (const kj::Exception &exception) {
    say(error, error_capacity, exception.getDescription());
  } catch (...) {
    say(error, error_capacity, "the reader failed");
  }
  return false;
}
