#include "CTomlPlusPlus.h"

// Turns toml++'s assertions about the text into parse errors. Otherwise a text could abort the program or cause undefined behaviour.
#undef NDEBUG
[[noreturn]] static void ctoml_assumption_failed();
#define TOML_ASSERT(expr) (static_cast<bool>(expr) ? static_cast<void>(0) : ctoml_assumption_failed())

#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 1
#define TOML_ENABLE_FORMATTERS 0
#define TOML_ENABLE_UNRELEASED_FEATURES 0
#define TOML_MAX_NESTED_VALUES CTOML_MAX_NESTING
#include <toml++/toml.h>

#include <deque>
#include <new>
#include <sstream>
#include <string>
#include <vector>

namespace {
struct AssumptionFailed {};
}  // namespace

static void ctoml_assumption_failed() { throw AssumptionFailed{}; }

struct CTomlDocument {
    // Nodes point into the table's strings, and into `texts` for what toml++ does not keep as text.
    toml::table table;
    std::deque<std::string> texts;
    std::vector<CTomlNode> nodes;
    std::string error;
    uint32_t error_line = 0;
    uint32_t error_column = 0;
};

namespace {

template <typename Value>
void set_text(CTomlDocument &document, CTomlNode &node, const Value &value) {
    std::ostringstream stream;
    stream << value;
    const auto &text = document.texts.emplace_back(stream.str());
    node.text = text.data();
    node.text_length = text.size();
}

void append(CTomlDocument &document, const toml::node &source, const toml::key *key) {
    CTomlNode node{};
    if (key) {
        node.key = key->data();
        node.key_length = key->length();
        node.key_line = key->source().begin.line;
        node.key_column = key->source().begin.column;
    }
    node.line = source.source().begin.line;
    node.column = source.source().begin.column;

    switch (source.type()) {
    case toml::node_type::table: {
        const auto &table = *source.as_table();
        node.kind = CTOML_TABLE;
        node.count = table.size();
        document.nodes.push_back(node);
        for (auto &&[child_key, child] : table)
            append(document, child, &child_key);
        return;
    }
    case toml::node_type::array: {
        const auto &array = *source.as_array();
        node.kind = CTOML_ARRAY;
        node.count = array.size();
        document.nodes.push_back(node);
        for (auto &&child : array)
            append(document, child, nullptr);
        return;
    }
    case toml::node_type::integer:
        node.kind = CTOML_INTEGER;
        node.integer = source.as_integer()->get();
        break;
    case toml::node_type::floating_point:
        node.kind = CTOML_FLOAT;
        node.real = source.as_floating_point()->get();
        break;
    case toml::node_type::boolean:
        node.kind = CTOML_BOOLEAN;
        node.boolean = source.as_boolean()->get();
        break;
    case toml::node_type::date:
        node.kind = CTOML_DATETIME;
        set_text(document, node, source.as_date()->get());
        break;
    case toml::node_type::time:
        node.kind = CTOML_DATETIME;
        set_text(document, node, source.as_time()->get());
        break;
    case toml::node_type::date_time:
        node.kind = CTOML_DATETIME;
        set_text(document, node, source.as_date_time()->get());
        break;
    default: {
        // `node_type::none` is never stored; a string is what remains.
        node.kind = CTOML_STRING;
        if (const auto *string = source.as_string()) {
            node.text = string->get().data();
            node.text_length = string->get().size();
        }
        break;
    }
    }
    document.nodes.push_back(node);
}

}  // namespace

CTomlDocument *ctoml_parse(const char *text, size_t length) {
    // No exception may reach the caller, which is not C++. Other exceptions than parse errors mean lack of memory.
    CTomlDocument *document = new (std::nothrow) CTomlDocument;
    if (!document)
        return nullptr;
    try {
        try {
            document->table = toml::parse(std::string_view(text, length));
            append(*document, document->table, nullptr);
        } catch (const toml::parse_error &error) {
            document->error = std::string(error.description());
            document->error_line = error.source().begin.line;
            document->error_column = error.source().begin.column;
        } catch (const AssumptionFailed &) {
            document->nodes.clear();
            document->error = "something in it is not TOML, but the parser cannot tell where";
            document->error_line = 1;
            document->error_column = 1;
        }
        return document;
    } catch (...) {
        delete document;
        return nullptr;
    }
}

const CTomlNode *ctoml_nodes(const CTomlDocument *document, size_t *count) {
    *count = document->nodes.size();
    return document->nodes.empty() ? nullptr : document->nodes.data();
}

const char *ctoml_error(const CTomlDocument *document, uint32_t *line, uint32_t *column) {
    if (!document->nodes.empty())
        return nullptr;
    *line = document->error_line;
    *column = document->error_column;
    return document->error.c_str();
}

void ctoml_free(CTomlDocument *document) { delete document; }
