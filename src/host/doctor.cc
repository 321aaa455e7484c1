// SPDX-License-Identifier: Apache-2.0
#include "host/doctor.h"

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace bulkhead::host {

namespace {

// The first of these that is set decides, as in setlocale(3).
bool utf8_locale() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') continue;
    std::string_view locale(value);
    return locale.find("UTF-8") != locale.npos || locale.find("utf8") != locale.npos;
  }
  return false;
}

}  // namespace

int doctor_exit_code(const Survey& survey) {
  return survey.kvm.usable ? kDoctorHardware : kDoctorLabOnly;
}

int doctor_main(bool json, const std::string& daemon_socket) {
  Survey survey = take_survey(Root(), probe_host(daemon_socket));
  std::string report = json ? report_json(survey) : report_text(survey, utf8_locale());
  std::fwrite(report.data(), 1, report.size(), stdout);
  std::fflush(stdout);
  return doctor_exit_code(survey);
}

}  // namespace bulkhead::host
