#include "CSimdjson.h"

#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace {

// 64 bytes of text, each question about them answered as a 64-bit mask: bit i is byte i.
struct Block {
#if defined(__SSE2__)
  __m128i part[4];

  explicit Block(const uint8_t *bytes) {
    for (int i = 0; i < 4; i++) part[i] = _mm_loadu_si128(reinterpret_cast<const __m128i *>(bytes) + i);
  }

  uint64_t equal(uint8_t byte) const {
    const __m128i wanted = _mm_set1_epi8(static_cast<char>(byte));
    uint64_t mask = 0;
    for (int i = 0; i < 4; i++)
      mask |= static_cast<uint64_t>(static_cast<uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(part[i], wanted)))) << (16 * i);
    return mask;
  }
#else
  uint8_t bytes[64];

  explicit Block(const uint8_t *from) { std::memcpy(bytes, from, 64); }

  uint64_t equal(uint8_t byte) const {
    uint64_t mask = 0;
    for (int i = 0; i < 64; i++) mask |= static_cast<uint64_t>(bytes[i] == byte) << i;
    return mask;
  }
#endif
};

// Bit i of the result: whether an odd number of bits is set in 0...i.
uint64_t parity_so_far(uint64_t bits) {
  for (int shift = 1; shift < 64; shift *= 2) bits ^= bits << shift;
  return bits;
}

// The bytes that a backslash before them escapes; `carry` is such a backslash across the blocks' border.
// In a run of backslashes each second byte is escaped, and so is the byte after a run of odd length. To add its first bit to a
// run clears the run and sets the byte after it, so runs that begin at even and at odd places can be told apart without a loop.
uint64_t escaped_bytes(uint64_t backslashes, bool &carry) {
  constexpr uint64_t even = 0x5555555555555555;
  const uint64_t before = carry ? 1 : 0;
  const uint64_t runs = backslashes & ~before;
  const uint64_t begins = runs & ~(runs << 1);
  const uint64_t without_even = runs + (begins & even);
  const uint64_t without_odd = runs + (begins & ~even);
  // The runs of one kind, and the bytes after them.
  const uint64_t of_even = (runs & ~without_even) | (without_even & ~runs);
  const uint64_t of_odd = (runs & ~without_odd) | (without_odd & ~runs);
  const uint64_t escaped = (of_even & ~even) | (of_odd & even) | before;
  carry = ((runs & ~escaped) >> 63) != 0;
  return escaped;
}

// Takes the first `count` bytes of the block. Returns how many of them belong to the object.
size_t scan_block(csimdjson_scanner &scanner, const Block &block, size_t count, bool &complete) {
  const uint64_t counted = count == 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1;
  bool carry = scanner.escaped;
  const uint64_t backslashes = block.equal('\\') & counted;
  uint64_t escaped = 0;
  if (backslashes != 0 || carry) {
    escaped = escaped_bytes(backslashes, carry);
    if ((escaped & counted & block.equal('u')) != 0) scanner.saw_unicode_escape = true;
    if (count < 64) carry = ((escaped >> count) & 1) != 0;
  }
  scanner.escaped = carry;

  const uint64_t quotes = block.equal('"') & ~escaped & counted;
  // Most blocks lie within a string.
  if (quotes == 0 && scanner.in_string) return count;

  scanner.quotes += static_cast<uint64_t>(__builtin_popcountll(quotes));
  const uint64_t inside = parity_so_far(quotes) ^ (scanner.in_string ? ~uint64_t{0} : 0);
  const uint64_t opening = (block.equal('{') | block.equal('[')) & ~inside & counted;
  const uint64_t closing = (block.equal('}') | block.equal(']')) & ~inside & counted;
  const uint64_t opened = static_cast<uint64_t>(__builtin_popcountll(opening));
  const uint64_t closed = static_cast<uint64_t>(__builtin_popcountll(closing));
  const uint64_t colons = block.equal(':') & ~inside & counted;
  const uint64_t commas = block.equal(',') & ~inside & counted;
  scanner.colons += static_cast<uint64_t>(__builtin_popcountll(colons));
  scanner.separators += static_cast<uint64_t>(__builtin_popcountll(commas)) + opened;
  scanner.in_string = ((inside >> (count - 1)) & 1) != 0;
  if (closed == 0 || closed < scanner.depth) {
    scanner.depth += opened - closed;
    return count;
  }
  for (uint64_t rest = opening | closing; rest != 0; rest &= rest - 1) {
    const uint64_t bit = rest & (~rest + 1);
    if ((opening & bit) != 0) {
      scanner.depth++;
    } else if (--scanner.depth == 0) {
      complete = true;
      return static_cast<size_t>(__builtin_ctzll(bit)) + 1;
    }
  }
  return count;
}

}  // namespace

size_t csimdjson_scan(csimdjson_scanner *scanner, const uint8_t *bytes, size_t length, bool *complete) {
  *complete = false;
  size_t offset = 0;
  while (length - offset >= 64) {
    const size_t count = scan_block(*scanner, Block(bytes + offset), 64, *complete);
    offset += count;
    if (*complete) return offset;
  }
  if (offset == length) return offset;
  uint8_t rest[64] = {0};
  std::memcpy(rest, bytes + offset, length - offset);
  return offset + scan_block(*scanner, Block(rest), length - offset, *complete);
}

bool csimdjson_may_escape_unicode(const uint8_t *bytes, size_t length) {
  uint8_t found = 0;
  // Without a way out of the loop the compiler makes vectors of it.
  for (size_t i = 1; i < length; i++) found |= static_cast<uint8_t>((bytes[i - 1] == '\\') & (bytes[i] == 'u'));
  return found != 0;
}
