// SPDX-License-Identifier: MIT
// Something for a compiler to do.
#include <algorithm>
#include <map>
#include <string>
#include <vector>

std::map<std::string, int> count(const std::vector<std::string>& words) {
  std::map<std::string, int> counts;
  for (const std::string& word : words) {
    ++counts[word];
  }
  return counts;
}

std::vector<std::string> sorted(std::vector<std::string> words) {
  std::sort(words.begin(), words.end(), [](const auto& a, const auto& b) {
    return a.size() != b.size() ? a.size() < b.size() : a < b;
  });
  return words;
}
