// SPDX-License-Identifier: MIT
// Counts words by regular expressions: much of the C++ library, to be assembled and linked.
#include <fstream>
#include <iostream>
#include <map>
#include <regex>
#include <string>

int main(int argc, char** argv) {
  std::map<std::string, int> words;
  std::ifstream in(argc > 1 ? argv[1] : "/etc/passwd");
  const std::regex word("[a-z]+");
  for (std::string line; std::getline(in, line);) {
    for (std::sregex_iterator at(line.begin(), line.end(), word), end; at != end; ++at) {
      ++words[at->str()];
    }
  }
  for (const auto& [text, count] : words) {
    std::cout << text << ' ' << count << '\n';
  }
}
