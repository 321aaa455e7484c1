// SPDX-License-Identifier: Apache-2.0
// The fixed part of a partition's hardware description. What differs between partitions comes from a
// small SSDT that the monitor writes (tables.cc).
DefinitionBlock ("", "DSDT", 2, "BULKHD", "PARTITIO", 1)
{
    External (\P64B, IntObj)  // 64-bit PCI window: first byte,
    External (\P64E, IntObj)  // last byte,
    External (\P64L, IntObj)  // length
    External (\TPMP, IntObj)  // whether there is a TPM

    Name (\_S5, Package () { 5, 5, 0, 0 })  // SLP_TYP of "soft off"

    Scope (\_SB)
    {
        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A08"))
            Name (_CID, EisaId ("PNP0A03"))
            Name (_SEG, 0)
            Name (_BBN, 0)
            Name (_UID, 0)
            // No _PRT: functions signal by MSI-X only, and say so with interrupt pin 0.

            Name (CRES, ResourceTemplate ()
            {
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
                    0, 0, 0, 0, 1)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                    0, 0xC0000000, 0xDFFFFFFF, 0, 0x20000000)
                QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                    0, 0x200000000, 0x2FFFFFFFF, 0, 0x100000000, , , W64)
            })

            Method (_CRS, 0, Serialized)
            {
                CreateQWordField (CRES, ^W64._MIN, WMIN)
                CreateQWordField (CRES, ^W64._MAX, WMAX)
                CreateQWordField (CRES, ^W64._LEN, WLEN)
                WMIN = P64B
                WMAX = P64E
                WLEN = P64L
                Return (CRES)
            }

            // PCI Firmware Specification 3.3, section 4.5: the guest gets every control it asks for.
            Method (_OSC, 4, Serialized)
            {
                CreateDWordField (Arg3, 0, CDW1)
                If (Arg0 != ToUUID ("33DB4D5B-1FF7-401C-9657-7441C03DD766"))
                {
                    CDW1 |= 4  // unrecognized UUID
                }
                Return (Arg3)
            }
        }

        Device (MBRD)  // what belongs to no other device: the ECAM, the power management block
        {
            Name (_HID, EisaId ("PNP0C02"))
            Name (_UID, 0)
            Name (_CRS, ResourceTemplate ()
            {
                Memory32Fixed (ReadWrite, 0xE0000000, 0x00100000)
                IO (Decode16, 0x0600, 0x0600, 1, 0x10)
            })
        }

        Device (COM1)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 1)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x03F8, 0x03F8, 1, 8)
                IRQNoFlags () { 4 }
            })
        }

        Device (TPM0)
        {
            Name (_HID, "MSFT0101")
            Name (_STR, Unicode ("TPM 2.0"))
            Method (_STA)
            {
                If (TPMP)
                {
                    Return (0x0F)
                }
                Return (0)
            }
            Name (_CRS, ResourceTemplate ()
            {
                Memory32Fixed (ReadWrite, 0xFED40000, 0x00005000)
            })
        }

        Device (RTC0)
        {
            Name (_HID, EisaId ("PNP0B00"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0070, 0x0070, 1, 2)
            })
        }
    }
}
