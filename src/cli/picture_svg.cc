// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "cli/picture.h"

namespace bulkhead::cli {
namespace {

// At most two decimals, none that are zero.
std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", value);
  std::string trimmed(text);
  trimmed.erase(trimmed.find_last_not_of('0') + 1);
  if (trimmed.ends_with('.')) trimmed.pop_back();
  return trimmed;
}

std::string name(const Colour& colour) {
  char text[8];
  std::snprintf(text, sizeof text, "#%02x%02x%02x", colour.red, colour.green, colour.blue);
  return text;
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out.push_back(c >= ' ' && c <= '~' ? c : '?');
    }
  }
  return out;
}

std::string attribute(const char* key, const std::string& value) {
  return std::string(" ") + key + "=\"" + value + "\"";
}

std::string box_element(const Box& box) {
  return "<rect" + attribute("x", number(box.x)) + attribute("y", number(box.y)) +
         attribute("width", number(box.width)) + attribute("height", number(box.height)) +
         attribute("fill", name(box.colour)) + "/>\n";
}

std::string label_element(const Label& label) {
  constexpr const char* kAnchors[] = {"start", "middle", "end"};
  std::string element =
      "<text" + attribute("x", number(label.x)) + attribute("y", number(label.y)) +
      attribute("font-size", number(label.size)) + attribute("fill", name(label.colour));
  if (label.anchor != Anchor::kStart) {
    element += attribute("text-anchor", kAnchors[static_cast<std::size_t>(label.anchor)]);
  }
  if (label.bold) element += attribute("font-weight", "bold");
  return element + ">" + escaped(label.text) + "</text>\n";
}

}  // namespace

std::string to_svg(const Picture& picture) {
  std::string svg =
      "<svg xmlns=\"http://www.w3.org/2000/svg\"" + attribute("width", number(picture.width)) +
      attribute("height", number(picture.height)) +
      attribute("viewBox", "0 0 " + number(picture.width) + " " + number(picture.height)) +
      attribute("font-family", "DejaVu Sans, Helvetica, Arial, sans-serif") + ">\n";
  svg += "<title>" + escaped(picture.title) + "</title>\n";
  svg += "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n";
  // Neighbouring boxes shall meet without a seam.
  svg += "<g shape-rendering=\"crispEdges\">\n";
  for (const Box& box : picture.boxes) svg += box_element(box);
  svg += "</g>\n";
  for (const Label& label : picture.labels) svg += label_element(label);
  return svg + "</svg>\n";
}

}  // namespace bulkhead::cli
