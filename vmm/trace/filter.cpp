// SPDX-License-Identifier: MIT
#include "vmm/trace/filter.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <string_view>
#include <utility>

#include "shared/address.hpp"
#include "vmm/trace/event_text.hpp"

namespace hvtrace {

// Not nameless: Filter::Node, which the header names, is made of them.
namespace filter_terms {

enum class Field : std::uint8_t {
  event,
  channel,
  order,
  batch,
  gpa,
  count,
  code,
  time,
  latency,
  outcome,
  kind,
  bytes,
  fault,
  mode,
  call,
};

enum class Compare : std::uint8_t { equal, unequal, less, less_equal, greater, greater_equal };

} // namespace filter_terms

namespace {

using abi::TraceEvent;
using filter_terms::Compare;
using filter_terms::Field;
using vmm::user_error;

constexpr std::array<std::pair<std::string_view, Field>, 17> fields{{{"event", Field::event},
                                                                     {"channel", Field::channel},
                                                                     {"vcpu", Field::channel},
                                                                     {"order", Field::order},
                                                                     {"batch", Field::batch},
                                                                     {"gpa", Field::gpa},
                                                                     {"address", Field::gpa},
                                                                     {"count", Field::count},
                                                                     {"code", Field::code},
                                                                     {"time", Field::time},
                                                                     {"latency", Field::latency},
                                                                     {"outcome", Field::outcome},
                                                                     {"kind", Field::kind},
                                                                     {"bytes", Field::bytes},
                                                                     {"fault", Field::fault},
                                                                     {"mode", Field::mode},
                                                                     {"call", Field::call}}};

constexpr std::array<std::pair<std::string_view, Compare>, 6> compares{
    {{"!=", Compare::unequal},
     {"<=", Compare::less_equal},
     {">=", Compare::greater_equal},
     {"=", Compare::equal},
     {"<", Compare::less},
     {">", Compare::greater}}};

bool holds(Compare compare, std::uint64_t left, std::uint64_t right) {
  switch (compare) {
  case Compare::equal:
    return left == right;
  case Compare::unequal:
    return left != right;
  case Compare::less:
    return left < right;
  case Compare::less_equal:
    return left <= right;
  case Compare::greater:
    return left > right;
  case Compare::greater_equal:
    return left >= right;
  }
  return false;
}

bool has_block(TraceEvent event) {
  return event == TraceEvent::range || event == TraceEvent::outcome ||
         event == TraceEvent::allocate || event == TraceEvent::free || event == TraceEvent::unused;
}

bool has_batch(TraceEvent event) {
  return (event >= TraceEvent::batch && event <= TraceEvent::answer_dropped) ||
         event == TraceEvent::fault || event == TraceEvent::submit || event == TraceEvent::drain ||
         event == TraceEvent::quarantine;
}

// Bytes of the block that the record is about; 0 when it is about none.
std::uint64_t block_bytes(const abi::TraceRecord& record) {
  if (record.event == TraceEvent::refault) {
    return record.value;
  }
  return has_block(record.event) && record.order <= abi::max_order
             ? abi::Order{record.order}.bytes()
             : 0;
}

std::optional<std::uint64_t> value_of(Field field, const abi::TraceRecord& record,
                                      std::optional<std::uint64_t> latency_ns) {
  const auto when = [](bool has, std::uint64_t value) {
    return has ? std::optional(value) : std::nullopt;
  };
  switch (field) {
  case Field::event:
    return static_cast<std::uint64_t>(record.event);
  case Field::channel:
    return record.channel;
  case Field::order:
    return when(has_block(record.event), record.order);
  case Field::batch:
    return when(has_batch(record.event), record.value);
  case Field::gpa:
    return when(has_block(record.event) || record.event == TraceEvent::refault, record.address);
  case Field::count:
    return record.count;
  case Field::code:
    if (record.event == TraceEvent::submit) {
      return record.address;
    }
    return when(record.event == TraceEvent::allocate || record.event == TraceEvent::free ||
                    record.event == TraceEvent::unused,
                record.value);
  case Field::time:
    return record.time_ns;
  case Field::latency:
    return latency_ns;
  case Field::outcome:
    return when(record.event == TraceEvent::outcome, record.detail >> 4);
  case Field::kind:
    return when(record.event == TraceEvent::range || record.event == TraceEvent::outcome,
                record.detail & 0xfU);
  case Field::bytes:
    return when(block_bytes(record) != 0, block_bytes(record));
  case Field::fault:
    return when(record.event == TraceEvent::fault, record.detail);
  case Field::mode:
    return when(record.event == TraceEvent::mode, record.detail);
  case Field::call:
    return when(record.event == TraceEvent::hypercall, record.value);
  }
  return std::nullopt;
}

} // namespace

struct Filter::Node {
  enum class Kind : std::uint8_t { comparison, both, either, negation };
  Kind kind = Kind::comparison;
  Field field = Field::event;
  Compare compare = Compare::equal;
  std::uint64_t value = 0;
  std::shared_ptr<const Node> left, right;

  [[nodiscard]] bool test(const abi::TraceRecord& record,
                          std::optional<std::uint64_t> latency_ns) const {
    switch (kind) {
    case Kind::both:
      return left->test(record, latency_ns) && right->test(record, latency_ns);
    case Kind::either:
      return left->test(record, latency_ns) || right->test(record, latency_ns);
    case Kind::negation:
      return !left->test(record, latency_ns);
    case Kind::comparison:
      break;
    }
    const auto found = value_of(field, record, latency_ns);
    if (!found) {
      return false;
    }
    if (field == Field::gpa && (compare == Compare::equal || compare == Compare::unequal)) {
      const bool inside = value >= *found && value - *found < block_bytes(record);
      return inside == (compare == Compare::equal);
    }
    return holds(compare, *found, value);
  }
};

namespace {

using NodePtr = std::shared_ptr<const Filter::Node>;

// Recursive descent; nesting is bounded so that no text can exhaust the stack.
class Parser {
 public:
  explicit Parser(std::string_view text) : rest_(text) {}

  vmm::Result<NodePtr> parse() {
    EBB_TRY_ASSIGN(node, either());
    skip_space();
    if (!rest_.empty()) {
      return user_error("filter: not understood: {:?}", rest_);
    }
    return node;
  }

  [[nodiscard]] bool saw_latency() const { return saw_latency_; }

 private:
  static constexpr unsigned max_depth = 64;

  void skip_space() { rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t"), rest_.size())); }

  bool take(std::string_view token) {
    skip_space();
    const bool is_word = std::isalpha(static_cast<unsigned char>(token[0])) != 0;
    if (!rest_.starts_with(token) ||
        (is_word && rest_.size() > token.size() && is_value_character(rest_[token.size()]))) {
      return false;
    }
    rest_.remove_prefix(token.size());
    return true;
  }

  static bool is_value_character(char character) {
    return std::isalnum(static_cast<unsigned char>(character)) != 0 || character == '_' ||
           character == '.';
  }

  std::string_view word() {
    skip_space();
    const auto end = std::find_if_not(rest_.begin(), rest_.end(), is_value_character);
    const std::string_view found = rest_.substr(0, static_cast<std::size_t>(end - rest_.begin()));
    rest_.remove_prefix(found.size());
    return found;
  }

  static NodePtr join(Filter::Node::Kind kind, NodePtr left, NodePtr right) {
    auto node = std::make_shared<Filter::Node>();
    node->kind = kind;
    node->left = std::move(left);
    node->right = std::move(right);
    return node;
  }

  vmm::Result<NodePtr> either() {
    EBB_TRY_ASSIGN(left, both());
    while (take("or") || take("||")) {
      EBB_TRY_ASSIGN(right, both());
      left = join(Filter::Node::Kind::either, std::move(left), std::move(right));
    }
    return left;
  }

  vmm::Result<NodePtr> both() {
    EBB_TRY_ASSIGN(left, unary());
    while (take("and") || take("&&")) {
      EBB_TRY_ASSIGN(right, unary());
      left = join(Filter::Node::Kind::both, std::move(left), std::move(right));
    }
    return left;
  }

  vmm::Result<NodePtr> unary() {
    if (++depth_ > max_depth) {
      return user_error("filter: more than {} terms", max_depth);
    }
    if (take("not")) {
      EBB_TRY_ASSIGN(inner, unary());
      return join(Filter::Node::Kind::negation, std::move(inner), nullptr);
    }
    if (take("(")) {
      EBB_TRY_ASSIGN(inner, either());
      if (!take(")")) {
        return user_error("filter: a ) is missing before {:?}", rest_);
      }
      return inner;
    }
    return comparison();
  }

  vmm::Result<NodePtr> comparison() {
    const std::string_view name = word();
    const auto* const field =
        std::ranges::find(fields, name, &std::pair<std::string_view, Field>::first);
    if (field == fields.end()) {
      return user_error(
          "filter: no field {:?}; there are event, channel, order, batch, gpa, count, "
          "code, time, latency, outcome, kind, bytes, fault, mode, call",
          name);
    }
    const auto* const compare = std::ranges::find_if(
        compares, [this](const auto& candidate) { return take(candidate.first); });
    if (compare == compares.end()) {
      return user_error("filter: {} wants one of = != < <= > >= before {:?}", name, rest_);
    }
    const std::string_view text = word();
    auto node = std::make_shared<Filter::Node>();
    node->field = field->second;
    node->compare = compare->second;
    EBB_TRY_ASSIGN(value, value_for(field->second, text));
    node->value = value;
    saw_latency_ = saw_latency_ || field->second == Field::latency;
    return NodePtr(std::move(node));
  }

  using NameOf = std::string_view (*)(std::uint8_t);
  static constexpr std::uint8_t named_values = 16; // more than any of these fields has

  // How values of the field are called; null where they are numbers.
  static NameOf names(Field field) {
    switch (field) {
    case Field::outcome:
      return outcome_name;
    case Field::kind:
      return kind_name;
    case Field::fault:
      return fault_name;
    case Field::mode:
      return mode_name;
    case Field::call:
      return [](std::uint8_t number) { return hypercall_name(number); };
    default:
      return nullptr;
    }
  }

  static vmm::Result<std::uint64_t> value_for(Field field, std::string_view text) {
    if (field == Field::event) {
      for (const abi::TraceEventText& event : abi::trace_event_texts) {
        if (text == event.name) {
          return static_cast<std::uint64_t>(event.event);
        }
      }
      return user_error("filter: no event {:?}", text);
    }
    if (const NameOf name_of = names(field)) {
      for (std::uint8_t value = 0; value < named_values; ++value) {
        if (text == name_of(value)) {
          return value;
        }
      }
    }
    return number(text);
  }

  // Decimal or 0x; a size or a time may have a suffix.
  static vmm::Result<std::uint64_t> number(std::string_view text) {
    const bool is_hex = text.starts_with("0x");
    const std::string_view digits = is_hex ? text.substr(2) : text;
    std::uint64_t value = 0;
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, is_hex ? 16 : 10);
    const std::string_view suffix(end,
                                  static_cast<std::size_t>(digits.data() + digits.size() - end));
    constexpr std::array<std::pair<std::string_view, std::uint64_t>, 9> suffixes{
        {{"", 1},
         {"ns", 1},
         {"us", 1'000},
         {"ms", 1'000'000},
         {"s", 1'000'000'000},
         {"K", std::uint64_t{1} << 10},
         {"M", std::uint64_t{1} << 20},
         {"G", std::uint64_t{1} << 30},
         {"T", std::uint64_t{1} << 40}}};
    const auto* const unit =
        std::ranges::find(suffixes, suffix, &std::pair<std::string_view, std::uint64_t>::first);
    if (error != std::errc{} || unit == suffixes.end() ||
        value > ~std::uint64_t{0} / unit->second) {
      return user_error("filter: not a number: {:?}", text);
    }
    return value * unit->second;
  }

  std::string_view rest_;
  unsigned depth_ = 0;
  bool saw_latency_ = false;
};

} // namespace

vmm::Result<Filter> Filter::parse(const std::string& text) {
  Parser parser(text);
  EBB_TRY_ASSIGN(root, parser.parse());
  Filter filter;
  filter.root_ = std::move(root);
  filter.needs_latency_ = parser.saw_latency();
  return filter;
}

bool Filter::matches(const abi::TraceRecord& record,
                     std::optional<std::uint64_t> latency_ns) const {
  return root_->test(record, latency_ns);
}

} // namespace hvtrace
